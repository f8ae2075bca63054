"""The ways to write a convolution as matrix products, and what each of them costs."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from tele_jax._types import Array

Pair = tuple[int, int]

_WRITTEN = 45
"""A number that is written takes as long as so many multiplications: two cores with
AVX-512 chose the faster formulation of nearly all layers with it."""
_RUN = 8
"""Fewer numbers than that one after the other take as long to copy."""
_MANY = 1.25
"""Many small products take long to compile: they have to save a fifth of the time."""


class Windows(NamedTuple):
    """What an output sees, and where: (height, width) each."""

    offsets: tuple[Sequence[int], Sequence[int]]
    """Of a window's rows and columns from its first."""
    strides: Pair
    padding: tuple[Pair, Pair]
    number: Pair
    """How many places the kernel has on the padded maps."""


def split(
    maps: Array, kernel: Array, windows: Windows, products: dict[str, Any]
) -> Array:
    """The kernel's columns on the input's side, its rows on the output's.

    z[b, h, w, i, o] = Σ_{j, c} kernel[i, j, c, o] x[b, h, w + d j, c] is one product of
    [b·H·W', j·C] and [j·C, i·O]; y[b, h] = Σ_i z[b, h + d i, :, i]. Rows are padded on
    the output's side: rows of zeros would be multiplied. The transposes are products
    of the same shapes: ``lax.concatenate`` and ``lax.split`` are each other's
    transpose, where slices would become sums of padded arrays.
    """
    rows, columns = windows.offsets
    (top, bottom), (left, right) = windows.padding
    off = _cropped(maps.shape[1], top, bottom)
    top, bottom = top - off[0], bottom - off[1]
    # Padded one by one: a padded array would be written before it is copied.
    shifted = [_pad(maps, off, (left - j, right + j - columns[-1])) for j in columns]
    seen = lax.concatenate(shifted, 3)
    features = kernel.shape[3]
    side_by_side = kernel.transpose(1, 2, 0, 3).reshape(-1, len(rows) * features)
    # Rounded to a shorter type once, after the sum, as other convolutions are.
    dtype = products.get("preferred_element_type") or maps.dtype
    long = {"preferred_element_type": jnp.promote_types(dtype, jnp.float32)}
    sums = _product(seen, side_by_side, {**products, **long})
    parts = zip(rows, lax.split(sums, [features] * len(rows), axis=3), strict=True)
    summands = (
        _pad(part, (top - i, bottom + i - rows[-1]), (0, 0)) for i, part in parts
    )
    return functools.reduce(jnp.add, summands).astype(dtype)


def patches(
    maps: Array, kernel: Array, windows: Windows, products: dict[str, Any]
) -> Array:
    """All that an output sees side by side: [b·H'·W', i·j·C] times [i·j·C, O]."""
    strides = windows.strides
    height, width = windows.number
    down, right = (height - 1) * strides[0] + 1, (width - 1) * strides[1] + 1
    maps = _pad(maps, *windows.padding)
    seen = [
        maps[:, i : i + down : strides[0], j : j + right : strides[1]]
        for i, j in itertools.product(*windows.offsets)
    ]
    matrix = kernel.reshape(-1, kernel.shape[3])
    return _product(lax.concatenate(seen, 3), matrix, products)


def winograd(
    maps: Array, kernel: Array, windows: Windows, products: dict[str, Any]
) -> Array:
    """F(2 x 2, 3 x 3): two rows and columns of outputs from four of the input.

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A for every tile d of 4 x 4 pixels, where ⊙ sums over
    channels: 16 products instead of 36. Source: Lavin & Gray, Fast Algorithms for
    Convolutional Neural Networks, CVPR 2016, arXiv 1509.09308.
    """
    vertical, horizontal = windows.padding
    height, width = windows.number
    # An odd row or column of outputs is computed with a next one, which is left out.
    below, beside = (
        (vertical[0], vertical[1] + height % 2),
        (horizontal[0], horizontal[1] + width % 2),
    )
    tiles = _in_both(_of_tile, _pad(maps, below, beside))
    kernels = _in_both(_of_kernel, kernel, (0, 1))
    sums = [
        _product(tile, matrix[0, 0], products)
        for tile, matrix in zip(tiles, kernels, strict=True)
    ]
    by_row = [_outputs(*sums[4 * i : 4 * i + 4]) for i in range(4)]
    columns = [
        jnp.stack(_outputs(*of_column), 2) for of_column in zip(*by_row, strict=True)
    ]
    outputs = jnp.stack(columns, 4)  # [b, tiles, 2, tiles, 2, O]
    rows, side = 2 * outputs.shape[1], 2 * outputs.shape[3]
    outputs = outputs.reshape(maps.shape[0], rows, side, -1)
    return outputs[:, :height, :width]


def grouped(
    maps: Array, kernel: Array, windows: Windows, products: dict[str, Any]
) -> Array:
    """What ``lax`` has: under ``vmap``, a convolution of as many groups as slots."""
    return lax.conv_general_dilated(
        # XLA's CPU compiler crops the wrong rows (jaxlib 0.10.2).
        _pad(maps, *windows.padding),
        kernel,
        windows.strides,
        "VALID",
        # A row begins a dilation after the one before.
        rhs_dilation=[axis[1] if len(axis) > 1 else 1 for axis in windows.offsets],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        **products,
    )


def _in_both(
    transform: Callable[[Array, int], list[Array]],
    array: Array,
    axes: Pair = (1, 2),
) -> list[Array]:
    """A transform along rows, then along columns: 16 arrays."""
    down, across = axes
    return [y for x in transform(array, down) for y in transform(x, across)]


def _of_tile(maps: Array, axis: int) -> list[Array]:
    """Bᵀ d: tiles of four begin at every second place."""
    even, odd = (lax.slice_in_dim(maps, first, None, 2, axis=axis) for first in (0, 1))
    number = even.shape[axis]
    d0, d1, d2, d3 = (
        lax.slice_in_dim(half, tile, number - 1 + tile, axis=axis)
        for tile in (0, 1)
        for half in (even, odd)
    )
    return [d0 - d2, d1 + d2, d2 - d1, d1 - d3]


def _of_kernel(kernel: Array, axis: int) -> list[Array]:
    """G g."""
    g0, g1, g2 = lax.split(kernel, [1, 1, 1], axis)
    outer, inner = (g0 + g2) / 2, g1 / 2
    return [g0, outer + inner, outer - inner, g2]


def _outputs(m0: Array, m1: Array, m2: Array, m3: Array) -> tuple[Array, Array]:
    """Aᵀ m."""
    return m0 + m1 + m2, m1 - m2 - m3


def costs(maps: Array, kernel: Array, windows: Windows) -> dict[str, float]:
    """What the formulations that can compute a convolution cost, for one image.

    Products, plus numbers written times ``_WRITTEN``; a kernel is written once for a
    batch. Sizes that are left open are taken for 32.
    """
    batch, edge, height, width = (
        size if isinstance(size, int) else 32
        for size in (*maps.shape[:2], *windows.number)
    )
    rows, columns, channels, features = kernel.shape
    area, share = rows * columns, channels * features / batch
    copied = max(channels, _RUN)

    def cost(products: float, pixels: float, per_pixel: float, kernels: float) -> float:
        written = pixels * per_pixel + kernels * share
        return products * channels * features + _WRITTEN * written

    pixels, per_pixel = height * width, area * copied + features
    found = {"patches": cost(pixels * area, pixels, per_pixel, 0)}
    if windows.strides == (1, 1):
        pixels = (edge + sum(_cropped(edge, *windows.padding[0]))) * width
        per_pixel = columns * copied + rows * features
        found["split"] = cost(pixels * area, pixels, per_pixel, area)
        by_threes = list(map(list, windows.offsets)) == [[0, 1, 2], [0, 1, 2]]
        if by_threes and all(isinstance(size, int) for size in windows.number):
            pixels = 16 * ((height + 1) // 2) * ((width + 1) // 2)
            per_pixel = channels + features
            found["winograd"] = _MANY * cost(pixels, pixels, per_pixel, 16)
    return found


def _product(maps: Array, matrix: Array, products: dict[str, Any]) -> Array:
    """A matrix times the channels of every pixel."""
    pixels = maps.reshape(-1, maps.shape[-1])
    result = jnp.matmul(pixels, matrix, **products)
    return result.reshape(*maps.shape[:-1], -1)


def _cropped(height: int, top: int, bottom: int) -> Pair:
    """The part of the rows' padding that is negative, but one row stays."""
    above = max(min(top, 0), 1 - height)
    return above, max(min(bottom, 0), 1 - height - above)


def _pad(maps: Array, rows: Pair, columns: Pair) -> Array:
    """Pad, or crop where a padding is negative."""
    config = ((0, 0, 0), (*rows, 0), (*columns, 0), (0, 0, 0))
    # lax.pad and not jnp.pad: a negative padding, which crops, is a padding too.
    return lax.pad(maps, jnp.zeros((), maps.dtype), config)
