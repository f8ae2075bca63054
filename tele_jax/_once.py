"""Arrays that are computed once, not again by everybody who reads them."""

import jax
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from tele_jax._types import Array


def once(array: Array) -> Array:
    """The same array, and its gradient, as a place in memory that others read.

    XLA's CPU compiler puts elementwise work into every loop that reads its result: the
    three shifted copies of a normalised map would normalise it three times. It stops at
    a call that it must not inline, and at nothing else that costs as little: it drops
    ``lax.optimization_barrier`` before it decides. Elsewhere nothing is done.

    >>> once(jax.numpy.ones(2)).tolist()
    [1.0, 1.0]
    """
    return lax.platform_dependent(array, cpu=_called, default=lambda array: array)


_call = jax.jit(lax.optimization_barrier)
"""Not the identity: that ``jit`` would leave out."""


def _called(array: Array) -> Array:
    with set_xla_metadata(inlineable="false"):
        return _call(array)
