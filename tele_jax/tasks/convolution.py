"""Convolutions as matrix products, which stay fast when every slot has its kernel.

``vmap`` of ``lax.conv_general_dilated`` over kernels is a grouped convolution: XLA
runs several times slower than the products it consists of. And its gradients are
convolutions in other layouts, which XLA brings into the fast one outside of loops only:
on a CPU, inside the loop over rounds, they run ten to forty times slower.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tele_jax._once import once
from tele_jax._types import Array

Pair = tuple[int, int]
Formulation = Literal["split", "patches"]

_OF_PRODUCTS = ("precision", "preferred_element_type")
"""The options that a matrix product takes, too."""


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[Pair],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    *,
    formulation: Formulation | None = None,
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
      formulation: "split", one product for the kernel's columns, whose results for the
        kernel's rows are added (stride 1 only); "patches", one product for the whole
        kernel; None: of the two the one that writes fewer numbers, the faster one of
        nearly all layers that we measured on a CPU. A profile names it.

    Returns:
      Feature maps, NHWC, ``[b, H', W', O]``.

    Raises:
      ValueError: the padded maps are smaller than the kernel, paddings are not two, or
        there is no such formulation, or not of this convolution.

    >>> layout = ("NHWC", "HWIO", "NHWC")
    >>> x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((5, 5, 3, 4))
    >>> conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=layout).shape
    (2, 4, 4, 4)
    """
    plain = _is_plain(lhs, rhs, lhs_dilation, dimension_numbers, options)
    _check_formulation(formulation, plain, window_strides)
    if not plain:
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
    dilation = (1, 1) if rhs_dilation is None else rhs_dilation
    windows = _windows(lhs.shape[1:3], rhs.shape[:2], window_strides, padding, dilation)
    formulation = formulation or _better(lhs, rhs, windows)
    compute = {"split": _split, "patches": _patches}[formulation]
    products = {name: options[name] for name in _OF_PRODUCTS if name in options}
    with jax.named_scope(f"conv_{formulation}"):
        # Shifted copies are made of the maps, and of their gradient.
        return once(compute(once(lhs), rhs, windows, products))


class _Windows(NamedTuple):
    """What an output sees, and where: (height, width) each."""

    offsets: tuple[Sequence[int], Sequence[int]]
    """Of a window's rows and columns from its first."""
    strides: Pair
    padding: tuple[Pair, Pair]
    number: Pair
    """How many places the kernel has on the padded maps."""


def _windows(
    maps: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: str | Sequence[Pair],
    dilation: Sequence[int],
) -> _Windows:
    offsets = [
        [d * i for i in range(size)] for size, d in zip(kernel, dilation, strict=True)
    ]
    reach = [of_axis[-1] + 1 for of_axis in offsets]
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(maps, reach, strides, padding)
    if len(padding) != 2:
        got = f"conv_general_dilated: got {len(padding)} pairs of padding, expected 2"
        raise ValueError(f"{got}, for height and width.")
    height, width = (n + sum(pair) for n, pair in zip(maps, padding, strict=True))
    if height < reach[0] or width < reach[1]:
        raise ValueError(
            f"conv_general_dilated: padded maps of {height} x {width} are smaller than "
            f"the kernel's {reach[0]} x {reach[1]}; use larger inputs or more padding."
        )
    number = (
        (height - reach[0]) // strides[0] + 1,
        (width - reach[1]) // strides[1] + 1,
    )
    rows, columns = offsets
    (down, right), (vertical, horizontal) = strides, padding
    return _Windows((rows, columns), (down, right), (vertical, horizontal), number)


def _split(
    maps: Array, kernel: Array, windows: _Windows, products: dict[str, Any]
) -> Array:
    """The kernel's columns on the input's side, its rows on the output's.

    z[b, h, w, i, o] = Σ_{j, c} kernel[i, j, c, o] x[b, h, w + d j, c] is one product of
    [b·H·W', j·C] and [j·C, i·O]; y[b, h] = Σ_i z[b, h + d i, :, i]. Rows are padded on
    the output's side: rows of zeros would be multiplied. The transposes are products
    of the same shapes: ``lax.concatenate`` and ``lax.split`` are each other's
    transpose, where slices would become sums of padded arrays.
    """
    rows, columns = windows.offsets
    (top, bottom), sides = windows.padding
    cropped = _cropped(maps.shape[1], top, bottom)
    top, bottom = top - cropped[0], bottom - cropped[1]
    maps, width = _pad(maps, cropped, sides), windows.number[1]
    seen = lax.concatenate([maps[:, :, j : j + width] for j in columns], 3)
    features = kernel.shape[3]
    side_by_side = kernel.transpose(1, 2, 0, 3).reshape(-1, len(rows) * features)
    # Rounded to a shorter type once, after the sum, as other convolutions are.
    dtype = products.get("preferred_element_type") or maps.dtype
    long = {"preferred_element_type": jnp.promote_types(dtype, jnp.float32)}
    sums = _product(seen, side_by_side, {**products, **long})
    parts = zip(rows, lax.split(sums, [features] * len(rows), axis=3), strict=True)
    shifted = (
        _pad(part, (top - i, bottom + i - rows[-1]), (0, 0)) for i, part in parts
    )
    return functools.reduce(jnp.add, shifted).astype(dtype)


def _patches(
    maps: Array, kernel: Array, windows: _Windows, products: dict[str, Any]
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


def _product(maps: Array, matrix: Array, products: dict[str, Any]) -> Array:
    """A matrix times the channels of every pixel."""
    pixels = maps.reshape(-1, maps.shape[-1])
    result = jnp.matmul(pixels, matrix, **products)
    return result.reshape(*maps.shape[:-1], -1)


def _check_formulation(
    wanted: Formulation | None, plain: bool, strides: Sequence[int]
) -> None:
    if wanted is None or (plain and wanted == "patches"):
        return
    if wanted not in ("split", "patches"):
        wrong = "expected 'split' or 'patches'; leave it out for the better one"
    elif not plain:
        wrong = "but this convolution is left to jax.lax, which has none; leave it out"
    elif tuple(strides) != (1, 1):
        wrong = f"but strides of {tuple(strides)}, not 1; use 'patches'"
    else:
        return
    raise ValueError(f"conv_general_dilated: got formulation={wanted!r}, {wrong}.")


def _cropped(height: int, top: int, bottom: int) -> Pair:
    """The part of the rows' padding that is negative, but one row stays."""
    above = max(min(top, 0), 1 - height)
    return above, max(min(bottom, 0), 1 - height - above)


def _better(maps: Array, kernel: Array, windows: _Windows) -> Formulation:
    """The formulation that writes fewer numbers; padded "SAME", both multiply alike."""
    rows, columns, channels, features = kernel.shape
    edge = maps.shape[1] + sum(_cropped(maps.shape[1], *windows.padding[0]))
    split = edge * (columns * channels + rows * features)
    patches = windows.number[0] * (rows * columns * channels + features)
    # "split" writes the kernel, too, once for a batch, whose size may be left open.
    share = maps.shape[0] * windows.number[1]
    split += kernel.size // share if isinstance(share, int) else 0
    return "split" if windows.strides == (1, 1) and split < patches else "patches"


def _is_plain(
    lhs: Array, rhs: Array, lhs_dilation: Any, dimension_numbers: Any, options: Any
) -> bool:
    """Whether these are NHWC and HWIO arrays that a product can take."""
    if not lhs.ndim == rhs.ndim == 4 or 0 in (*lhs.shape, *rhs.shape):
        return False
    given, ours = (
        lax.conv_dimension_numbers(lhs.shape, rhs.shape, layout)
        for layout in (dimension_numbers, ("NHWC", "HWIO", "NHWC"))
    )
    floating = jnp.issubdtype(lhs.dtype, jnp.floating) and lhs.dtype == rhs.dtype
    if given != ours or not floating or lhs.shape[3] != rhs.shape[2]:
        return False
    # A pair of precisions names the operands in lax's order, which is not ours.
    if isinstance(options.get("precision"), tuple):
        return False
    others = [value for name, value in options.items() if name not in _OF_PRODUCTS]
    others += [] if lhs_dilation is None else list(lhs_dilation)
    return all(value in (None, 1) for value in others)


def _pad(maps: Array, rows: Pair, columns: Pair) -> Array:
    """Pad, or crop where a padding is negative."""
    config = ((0, 0, 0), (*rows, 0), (*columns, 0), (0, 0, 0))
    # lax.pad and not jnp.pad: a negative padding, which crops, is a padding too.
    return lax.pad(maps, jnp.zeros((), maps.dtype), config)
