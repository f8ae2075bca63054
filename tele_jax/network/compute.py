"""How long a node takes for its local step."""

import jax
import jax.numpy as jnp
from flax import struct

from tele_jax._types import Array, Key, Scalar
from tele_jax.network import _numbers as numbers


@struct.dataclass
class Compute:
    """Seconds of a local step: s_i · exp(σ Z − σ²/2) + δ E, Z normal, E exponential.

    With σ = δ = 0 a node always takes its s_i. Made by ``constant``, ``log_normal`` and
    ``shifted_exponential``.
    """

    seconds: Array
    """s: float32[], or [n] if every node has its own speed."""
    sigma: Scalar = 0.0
    """σ of the logarithm; the mean stays s_i."""
    delay: Scalar = 0.0
    """δ, the mean of a delay on top."""

    @property
    def num_nodes(self) -> int | None:
        """The number n of nodes that it is made for; None if any."""
        return self.seconds.shape[0] if self.seconds.ndim else None

    def of(self, key: Key, nodes: Array) -> Array:
        """What these nodes take in a round, float32[k].

        Args:
          key: the round's. A node's time depends on it and on the node alone.
          nodes: int32[k].
        """

        def jitter(node: Array) -> tuple[Array, Array]:
            normal, exponential = jax.random.split(jax.random.fold_in(key, node))
            return jax.random.normal(normal), jax.random.exponential(exponential)

        z, e = jax.vmap(jitter)(nodes)
        seconds = self.seconds[nodes] if self.seconds.ndim else self.seconds
        factor = jnp.exp(self.sigma * z - jnp.square(self.sigma) / 2)
        return jnp.asarray(seconds * factor + self.delay * e, jnp.float32)


def constant(seconds: Scalar) -> Compute:
    """A local step takes s_i seconds, always.

    Args:
      seconds: one number, or one for every node, [n]; a leaf.

    Raises:
      ValueError: one is negative or not finite, or the shape is another.

    >>> constant([1.0, 2.0]).of(jax.random.key(0), jnp.array([1])).tolist()
    [2.0]
    """
    return Compute(_seconds("constant", seconds))


def log_normal(seconds: Scalar, sigma: Scalar) -> Compute:
    """A local step takes s_i · exp(σ Z − σ²/2): slower and faster rounds, mean s_i.

    Args:
      seconds: s, one number or [n]; a leaf.
      sigma: σ, the standard deviation of the logarithm; a leaf.

    Raises:
      ValueError: a number is negative or not finite.

    >>> log_normal(1.0, 0.0).of(jax.random.key(0), jnp.arange(2)).tolist()
    [1.0, 1.0]
    """
    numbers.check("log_normal", "sigma", sigma, single=True)
    return Compute(_seconds("log_normal", seconds), sigma=sigma)


def shifted_exponential(seconds: Scalar, delay: Scalar) -> Compute:
    """A local step takes s_i + δ E, E exponential with mean 1: it is never below s_i.

    The usual model of stragglers.

    Args:
      seconds: s, one number or [n]; a leaf.
      delay: δ, seconds; a leaf.

    Raises:
      ValueError: a number is negative or not finite.

    Source: K. Lee, M. Lam, R. Pedarsani, D. Papailiopoulos, K. Ramchandran, *Speeding
    Up Distributed Machine Learning Using Codes*, IEEE Trans. Inf. Theory 2018, arXiv
    1512.02673.

    >>> times = shifted_exponential(1.0, 0.5).of(jax.random.key(0), jnp.arange(9))
    >>> bool((times > 1).all())
    True
    """
    numbers.check("shifted_exponential", "delay", delay, single=True)
    return Compute(_seconds("shifted_exponential", seconds), delay=delay)


def _seconds(name: str, seconds: Scalar) -> Array:
    numbers.check(name, "seconds", seconds)
    seconds = jnp.asarray(seconds, jnp.float32)
    if seconds.ndim > 1:
        raise ValueError(
            f"{name}: got seconds of shape {seconds.shape}, expected one number or one "
            "for every node."
        )
    return seconds
