"""A task whose rounds are only timed."""

import jax.numpy as jnp
from flax import struct

from tele_jax._types import Array, Key


@struct.dataclass
class Still:
    """A task with nothing to learn, F_i(x; ξ) = 0 for a model of one number.

    Clocks do not depend on what is learnt: simulate a ``Timed`` method on it, from the
    params 0.0 and with the key of another run, and you have that run's clocks, for
    models of 4 bytes. Give links whose bandwidth is that of the real ones, times 4 /
    bytes.

    Args:
      num_nodes: n.

    >>> import jax, tele_jax as tele
    >>> net = tele.Network(tele.network.same(0.5), tele.network.constant(1.0))
    >>> timed = tele.Timed(tele.DSGD(tele.graphs.ring(8), 0.1), net)
    >>> run = tele.simulate(timed, Still(8), jnp.float32(0), jax.random.key(0),
    ...                     num_rounds=3)
    >>> tele.metrics.elapsed(run.info).tolist()
    [1.5, 3.0, 4.5]
    """

    num_nodes: int = struct.field(pytree_node=False)

    def sample(self, key: Key, node: Array, count: Array | None) -> Array:
        """Nothing."""
        del key, node, count
        return jnp.float32(0.0)

    def loss(self, params: Array, batch: Array) -> Array:
        """Zero."""
        return params * batch
