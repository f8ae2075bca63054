"""Simulated time: gossip in the (max, +) semiring.

Within a round, times are float32 seconds since the moment up to which the run has come;
a ``Clock`` keeps them over many rounds, in which a float32 would stand still.
"""

from typing import NamedTuple

import jax.numpy as jnp

from tele_jax._types import Array

NEVER = -jnp.inf
"""The (max, +) zero: what is not waited for."""


class Clock(NamedTuple):
    """Moments as the unevaluated sum of two float32, about 14 decimal digits."""

    high: Array
    low: Array


def midnight(shape: tuple[int, ...] = ()) -> Clock:
    """All clocks at 0.

    >>> midnight((2,)).high.tolist()
    [0.0, 0.0]
    """
    return Clock(jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32))


def since(clock: Clock, now: Clock) -> Array:
    """Seconds from one moment to others, float32.

    >>> later = after(after(midnight(), jnp.float32(1e8)), jnp.float32(0.25))
    >>> float(since(later, after(midnight(), jnp.float32(1e8))))
    0.25
    """
    return (clock.high - now.high) + (clock.low - now.low)


def after(now: Clock, seconds: Array) -> Clock:
    """The moments so many seconds after another, rounded to the digits of a ``Clock``.

    Sources: the sum of two floats and its error by D. E. Knuth, *The Art of Computer
    Programming* 2, 1969; T. J. Dekker, *A floating-point technique for extending the
    available precision*, Numerische Mathematik 18, 1971.

    >>> after(midnight(), jnp.float32(0.5)).high.tolist()
    0.5
    """
    total, error = _two_sum(now.high, seconds)
    return Clock(*_two_sum(total, error + now.low))


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b rounded, and the error."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)
