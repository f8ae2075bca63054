"""Arrays that are computed once for all who read them, or again for the gradient.

XLA's CPU compiler drops ``lax.optimization_barrier`` before it decides what is computed
where. It stops at a call that it must not inline, and at nothing else that costs as
little. Other compilers keep to the barrier.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from tele_jax._types import Array


def _not_inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    call = jax.jit(function)

    def called(*args: Any) -> Any:
        with set_xla_metadata(inlineable="false"):
            return call(*args)

    return called


in_memory = _not_inlined(lax.optimization_barrier)
"""The same tree, all of it in memory before any of it is read; for a CPU only.

Not of the identity: that ``jit`` would leave out."""


def once(array: Array) -> Array:
    """The same array, and its gradient, as a place in memory that others read.

    XLA's CPU compiler puts elementwise work into every loop that reads its result: the
    three shifted copies of a normalised map would normalise it three times. Elsewhere
    nothing is done.

    >>> once(jax.numpy.ones(2)).tolist()
    [1.0, 1.0]
    """
    return lax.platform_dependent(array, cpu=in_memory, default=lambda array: array)


@jax.custom_jvp
def once_forward(array: Array) -> Array:
    """``once`` whose gradient is left to those who read it, as to a sum of gradients.

    >>> once_forward(jax.numpy.ones(2)).tolist()
    [1.0, 1.0]
    """
    return once(array)


@once_forward.defjvp
def _once_forward_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    return once(*primals), *tangents


@jax.custom_jvp
def gradient_transposed(matrix: Array) -> Array:
    """The same matrix, whose gradient is computed as its transpose.

    The gradient of a layer x W with few outputs is fast on a CPU as gᵀ x, and slow as
    xᵀ g, which XLA makes of (gᵀ x)ᵀ unless gᵀ x is first written to memory.

    >>> gradient_transposed(jax.numpy.ones((2, 3))).shape
    (2, 3)
    """
    return matrix


@gradient_transposed.defjvp
def _gradient_transposed_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    return *primals, once(tangents[0].T).T


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """``jax.checkpoint``, on a CPU too.

    What is computed again for the gradient has to wait for it, otherwise it is the very
    thing that was computed before, and is remembered.

    >>> float(jax.grad(checkpoint(jax.numpy.sin))(0.0))
    1.0
    """
    again = jax.checkpoint(function)
    # Calls within it, as of ``nn.relu``, are not inlined either: a loop of their own,
    # which made no measurable difference.
    called = _not_inlined(again)

    def checkpointed(*args: Any) -> Any:
        return lax.platform_dependent(*args, cpu=called, default=again)

    return checkpointed
