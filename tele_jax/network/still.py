"""A task whose rounds are only timed."""

import jax.numpy as jnp
import numpy as np
from flax import struct

from tele_jax._types import Array, Key


@struct.dataclass
class Still:
    """A task with nothing to learn, F_i(x; ξ) = 0 for a model of one number.

    Clocks do not depend on what is learnt: simulate a ``Timed`` method on it, from the
    params ``jnp.float32(0)`` and with the key of another run, and you have that run's
    clocks, for models of ``Network(…, model_bytes=…)``.

    Args:
      num_nodes: n.

    Raises:
      ValueError: n is no positive integer, or the params are others.

    >>> import jax, tele_jax as tele
    >>> net = tele.Network(tele.network.same(0.5, bandwidth=1e6),
    ...                    tele.network.constant(1.0), model_bytes=2e6)
    >>> timed = tele.Timed(tele.DSGD(tele.graphs.ring(8), 0.1), net)
    >>> run = tele.simulate(timed, Still(8), jnp.float32(0), jax.random.key(0),
    ...                     num_rounds=3)
    >>> tele.metrics.elapsed(run.info).tolist()
    [3.5, 7.0, 10.5]
    """

    num_nodes: int = struct.field(pytree_node=False)

    def __post_init__(self) -> None:
        """Refuse what is no number of nodes; it is static, so never traced."""
        if not isinstance(self.num_nodes, (int, np.integer)) or self.num_nodes < 1:
            raise ValueError(
                f"Still: got num_nodes={self.num_nodes!r}, expected an integer of at "
                "least 1."
            )

    def sample(self, key: Key, node: Array, count: Array | None) -> Array:
        """Nothing."""
        del key, node, count
        return jnp.float32(0.0)

    def loss(self, params: Array, batch: Array) -> Array:
        """Zero."""
        if jnp.shape(params) != ():
            raise ValueError(
                f"Still: got params of shape {jnp.shape(params)}, expected the one "
                "number jnp.float32(0); Network(…, model_bytes=…) sets what models "
                "weigh."
            )
        return params * batch
