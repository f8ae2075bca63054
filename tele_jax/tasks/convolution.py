"""Convolutions as matrix products, which stay fast when every slot has its kernel.

``vmap`` of ``lax.conv_general_dilated`` over kernels is a grouped convolution: XLA
runs several times slower than the products it consists of. Here the batch is the
innermost axis of a feature map, ``[W, C, H, B]``, so all products are long in ``H·B``
and every slice is a contiguous block.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tele_jax._types import Array

Pair = tuple[int, int]

_BLOCK_ROWS = 96
"""At most so many rows in one banded product: measured best on two CPU cores."""


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[Pair],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    **options: Any,
) -> Array:
    """``jax.lax.conv_general_dilated``, faster under ``vmap`` with a kernel per slot.

    y[b, h, w, o] = Σ_{i, j, c} kernel[i, j, c, o] x[b, s h + d i, s w + d j, c] on the
    padded x, with stride s and kernel dilation d.

    Give it to a layer of your own model, in linen or nnx:
    ``nn.Conv(32, (3, 3), conv_general_dilated=conv_general_dilated)``.

    Args:
      lhs: feature maps, NHWC, ``[b, H, W, C]``.
      rhs: the kernel, HWIO, ``[i, j, C, O]``.
      window_strides, padding, rhs_dilation: (height, width), as in ``jax.lax``.
      lhs_dilation, dimension_numbers, options: as in ``jax.lax``. What is not a plain
        2-D convolution in the layouts above (groups, transposed, 1-D, 3-D, integers)
        is left to ``jax.lax``; ``precision`` and ``preferred_element_type`` are kept.

    Returns:
      Feature maps, NHWC, ``[b, H', W', O]``.

    >>> layout = ("NHWC", "HWIO", "NHWC")
    >>> x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((5, 5, 3, 4))
    >>> conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=layout).shape
    (2, 4, 4, 4)
    """
    products = {
        name: options[name]
        for name in ("precision", "preferred_element_type")
        if name in options
    }
    others = [value for name, value in options.items() if name not in products]
    plain = all(value in (None, 1) for value in (*others, *(lhs_dilation or ())))
    # A pair of precisions names the operands in lax's order, which is not ours.
    plain &= not isinstance(options.get("precision"), tuple)
    if not (plain and _channels_last(lhs, rhs, dimension_numbers)):
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            **options,
        )
    maps, dilation = lhs.transpose(2, 3, 1, 0), rhs_dilation or (1, 1)
    maps = convolve(maps, rhs, window_strides, padding, dilation, **products)
    return maps.transpose(3, 2, 0, 1)


def convolve(
    maps: Array,
    kernel: Array,
    strides: Sequence[int] = (1, 1),
    padding: str | Sequence[Pair] = "VALID",
    dilation: Sequence[int] = (1, 1),
    **products: Any,
) -> Array:
    """Convolve batch-innermost feature maps with a kernel.

    One product: the kernel, repeated at t shifts in a banded matrix ``[t·O, s·i·C]``,
    times the s input columns that each block of t neighbouring output columns sees,
    taken at the i kernel rows. A wider block wastes products with the zeros of the band
    and gains the height that a fast matrix product needs, so t is the largest with
    t·O ≤ 96, evened out over the blocks; layers of 49 channels or more have t = 1 and
    no zeros at all. Every step is one whose transpose is as fast, so gradients are too.

    Args:
      maps: ``[W, C, H, B]``.
      kernel: ``[i, j, C, O]``, rows (height) first as in flax.
      strides, padding, dilation: (height, width) each; padding also by name.
      products: options of ``jax.numpy.matmul``, such as its ``precision``.

    Returns:
      Feature maps ``[W', O, H', B]``.

    Raises:
      ValueError: the padded maps are smaller than the kernel.

    >>> convolve(jnp.ones((28, 1, 28, 32)), jnp.ones((5, 5, 1, 6))).shape
    (24, 6, 24, 32)
    """
    rows, columns, _, features = kernel.shape
    reach = ((rows - 1) * dilation[0] + 1, (columns - 1) * dilation[1] + 1)
    maps = _pad(maps, padding, reach, strides)
    width, height = _num_windows(maps, reach, strides)
    batch = maps.shape[3]
    block = _block_width(width, features)

    # What a block sees lies at multiples of `step` from its first column.
    step = math.gcd(strides[1] * (block > 1), dilation[1] * (columns > 1)) or 1
    band = _band(kernel, block, strides[1] // step, max(1, dilation[1] // step))

    # All the kernel rows side by side: [W, i, C, H', B].
    last = strides[0] * (height - 1) + 1
    shifted = jnp.stack(
        [maps[:, :, i : i + last : strides[0]] for i in dilation[0] * np.arange(rows)],
        axis=1,
    )
    span = block * strides[1]
    num_blocks = math.ceil(width / block)
    seen = _windows(shifted, num_blocks, span, span - strides[1] + reach[1])[:, ::step]

    # The blocks, rows and examples innermost: [s, i, C, blocks, H', B].
    seen = jnp.moveaxis(seen, 0, 3).reshape(-1, num_blocks * height * batch)
    band = band.reshape(block * features, -1)
    maps = jnp.matmul(band, seen, **products)
    maps = maps.reshape(block, features, num_blocks, height, batch)
    return jnp.moveaxis(maps, 2, 0).reshape(-1, features, height, batch)[:width]


def max_pool(maps: Array) -> Array:
    """The maximum of every 2 x 2 window of batch-innermost feature maps.

    An odd last row or column is dropped. Of equal values the first, row by row, gets
    the gradient, as in PyTorch; a NaN stays NaN.

    Args:
      maps: ``[W, C, H, B]``.

    Returns:
      Feature maps ``[W // 2, C, H // 2, B]``.

    >>> max_pool(jnp.arange(6.0).reshape(2, 1, 3, 1)).ravel().tolist()
    [4.0]
    """
    width, channels, height, batch = maps.shape
    width, height = width // 2, height // 2
    maps = maps[: 2 * width, :, : 2 * height]
    maps = maps.reshape(width, 2, channels, height, 2, batch)
    maps = _larger(maps[:, 0], maps[:, 1])
    return _larger(maps[:, :, :, 0], maps[:, :, :, 1])


@jax.custom_jvp
def _larger(a: Array, b: Array) -> Array:
    """jnp.maximum, but a tie sends its gradient to ``a`` instead of sharing it."""
    return jnp.maximum(a, b)


@_larger.defjvp
def _larger_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    a, b = primals
    return jnp.maximum(a, b), jnp.where(a >= b, *tangents)


def _channels_last(lhs: Array, rhs: Array, dimension_numbers: Any) -> bool:
    """Whether these are NHWC and HWIO arrays that a product can take."""
    if not lhs.ndim == rhs.ndim == 4 or 0 in (*lhs.shape, *rhs.shape):
        return False
    given, ours = (
        lax.conv_dimension_numbers(lhs.shape, rhs.shape, layout)
        for layout in (dimension_numbers, ("NHWC", "HWIO", "NHWC"))
    )
    floating = jnp.issubdtype(lhs.dtype, jnp.floating) and lhs.dtype == rhs.dtype
    return given == ours and floating and lhs.shape[3] == rhs.shape[2]


def _pad(
    maps: Array, padding: str | Sequence[Pair], reach: Pair, strides: Sequence[int]
) -> Array:
    width, _, height, _ = maps.shape
    if isinstance(padding, str):
        padding = lax.padtype_to_pads((height, width), reach, strides, padding)
    (top, bottom), (left, right) = padding
    config = ((left, right, 0), (0, 0, 0), (top, bottom, 0), (0, 0, 0))
    # lax.pad and not jnp.pad: a negative padding, which crops, is a padding too.
    return lax.pad(maps, jnp.zeros((), maps.dtype), config)


def _num_windows(maps: Array, reach: Pair, strides: Sequence[int]) -> Pair:
    """How many places the kernel has: (width, height)."""
    width, _, height, _ = maps.shape
    if height < reach[0] or width < reach[1]:
        raise ValueError(
            f"convolve: padded maps of {height} x {width} are smaller than the kernel's"
            f" {reach[0]} x {reach[1]}; use larger inputs or more padding."
        )
    return (width - reach[1]) // strides[1] + 1, (height - reach[0]) // strides[0] + 1


def _block_width(width: int, features: int) -> int:
    """How many output columns one product computes."""
    widest = max(1, _BLOCK_ROWS // features)
    return math.ceil(width / math.ceil(width / widest))


def _windows(maps: Array, number: int, span: int, size: int) -> Array:
    """``size`` columns from every multiple of ``span`` on: [number, size, ...].

    Overlapping windows are laid side by side from a few shifted copies, whose transpose
    is a few sums; one slice for each window would be as many sums of whole arrays.
    """
    shifts = math.ceil(size / span)
    missing = (number + shifts - 1) * span - len(maps)
    edges = ((0, missing, 0), *((0, 0, 0) for _ in maps.shape[1:]))
    maps = lax.pad(maps, jnp.zeros((), maps.dtype), edges)
    maps = maps.reshape(-1, span, *maps.shape[1:])
    return jnp.concatenate(
        [maps[a : a + number, : size - a * span] for a in range(shifts)], axis=1
    )


def _band(kernel: Array, block: int, stride: int, dilation: int) -> Array:
    """The kernel at every shift a of a block of output columns: [a, O, s, i, C]."""
    kernel, zero = kernel.transpose(3, 1, 0, 2), jnp.zeros((), kernel.dtype)
    shifts = []
    for a in range(block):
        shift = (a * stride, (block - 1 - a) * stride, dilation - 1)
        config = ((0, 0, 0), shift, (0, 0, 0), (0, 0, 0))
        shifts.append(lax.pad(kernel, zero, config))
    return jnp.stack(shifts)
