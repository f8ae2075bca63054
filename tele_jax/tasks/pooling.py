"""Max-pooling with gradients as fast as itself."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from tele_jax._once import once
from tele_jax._types import Array


def max_pool(maps: Array, rows: int = 1, columns: int = 2) -> Array:
    """The maximum of every 2 x 2 window of feature maps.

    An odd last row or column is dropped. Of equal values the first, row by row, gets
    the gradient, as in PyTorch; a NaN stays NaN.

    Args:
      maps: ``[b, H, W, C]``, or axes in another order.
      rows, columns: the axes H and W.

    Returns:
      Feature maps with half of the rows and columns.

    >>> max_pool(jnp.arange(6.0).reshape(1, 3, 2, 1)).ravel().tolist()
    [3.0]
    """
    maps = once(maps)
    # The later axis first: splitting the other one moves it.
    for axis in sorted((rows, columns), reverse=True):
        half = maps.shape[axis] // 2
        maps = lax.slice_in_dim(maps, 0, 2 * half, axis=axis)
        maps = maps.reshape(*maps.shape[:axis], half, 2, *maps.shape[axis + 1 :])
    down, across = rows + 1 + (columns < rows), columns + 1 + (rows < columns)
    return _largest(maps, down, across)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _largest(windows: Array, down: int, across: int) -> Array:
    """The maximum over two axes of length 2."""
    largest = functools.reduce(jnp.maximum, _halves(windows, across))
    largest = functools.reduce(jnp.maximum, _halves(largest, down))
    return largest.squeeze((down, across))


@_largest.defjvp
def _largest_jvp(
    down: int, across: int, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    """A selection and a sum, whose transpose is one pass over the windows.

    That of slices and ``jnp.where`` on them would be a sum of padded arrays.
    """
    (windows,), (tangent,) = primals, tangents
    left, right = _halves(windows, across)
    top, bottom = _halves(jnp.maximum(left, right), down)
    is_top, is_left = (
        lax.broadcasted_iota(jnp.int32, windows.shape, axis) == 0
        for axis in (down, across)
    )
    chosen = (is_top == (top >= bottom)) & (is_left == (left >= right))
    along = jnp.where(chosen, tangent, jnp.zeros_like(tangent)).sum((down, across))
    return _largest(windows, down, across), along


def _halves(windows: Array, axis: int) -> list[Array]:
    return [lax.slice_in_dim(windows, i, i + 1, axis=axis) for i in (0, 1)]
