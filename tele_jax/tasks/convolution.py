"""Convolutions as matrix products, which stay fast when every slot has its kernel.

``vmap`` of ``lax.conv_general_dilated`` over kernels is a grouped convolution: XLA
runs several times slower than the products it consists of. And its gradients are
convolutions in other layouts, which XLA brings into the fast one outside of loops only:
on a CPU, inside the loop over rounds, they run ten to forty times slower.
"""

import functools
from collections.abc import Collection, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax

from tele_jax._once import once, once_forward
from tele_jax._types import Array
from tele_jax.tasks import _formulations as formulations
from tele_jax.tasks._formulations import Pair, Windows

Formulation = Literal["split", "patches", "winograd", "grouped"]
_COMPUTE = {
    "split": formulations.split,
    "patches": formulations.patches,
    "winograd": formulations.winograd,
    "grouped": formulations.grouped,
}

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
        kernel; "winograd", for kernels of 3 x 3, stride 1, float32 and float64 without
        ``precision`` and ``preferred_element_type``: 16 instead of 36 products for
        2 x 2 outputs, of sums of pixels and of weights, so that an infinite one may
        make NaN of what sees it; "grouped", XLA's own convolution, which is slow on a
        CPU. None: of these but "grouped", and on accelerators but "winograd", by an
        estimate the fastest on a CPU. A profile names it.

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
    if not plain:
        _check_formulation(formulation, ("grouped",))
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
    products = {name: options[name] for name in _OF_PRODUCTS if name in options}
    return _by_products(lhs, rhs, windows, products, formulation)


def _by_products(
    maps: Array,
    kernel: Array,
    windows: Windows,
    products: dict[str, Any],
    wanted: Formulation | None,
) -> Array:
    possible = formulations.costs(maps, kernel, windows)
    if maps.dtype.itemsize < 4 or any(value is not None for value in products.values()):
        possible.pop("winograd", None)
    _check_formulation(wanted, (*possible, "grouped"))

    def by(formulation: str, maps: Array, kernel: Array) -> Array:
        with jax.named_scope(f"conv_{formulation}"):
            # Shifted copies are made of the maps, and of the outputs' gradient.
            maps = once_forward(maps)
            return once(_COMPUTE[formulation](maps, kernel, windows, products))

    if wanted is not None:
        return by(wanted, maps, kernel)
    best = min(possible, key=possible.__getitem__)
    elsewhere = min(possible.keys() - {"winograd"}, key=possible.__getitem__)
    if best == elsewhere:
        return by(best, maps, kernel)
    # Accelerators round what they multiply; of sums of pixels that costs more digits.
    return lax.platform_dependent(
        maps,
        kernel,
        cpu=functools.partial(by, best),
        default=functools.partial(by, elsewhere),
    )


def _windows(
    maps: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: str | Sequence[Pair],
    dilation: Sequence[int],
) -> Windows:
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
    return Windows((rows, columns), (down, right), (vertical, horizontal), number)


def _check_formulation(wanted: Formulation | None, possible: Collection[str]) -> None:
    if wanted is None or wanted in possible:
        return
    if wanted not in _COMPUTE:
        wrong = f"expected {', '.join(map(repr, _COMPUTE))}"
    else:
        wrong = (
            f"which is not for this one; expected {' or '.join(map(repr, possible))}"
        )
    raise ValueError(
        f"conv_general_dilated: got formulation={wanted!r}, {wrong}; leave it out for "
        "the best one."
    )


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
