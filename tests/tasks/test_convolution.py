"""Convolutions as products against the convolution of XLA."""

import functools
import itertools
import re

import chex
import jax
import jax.export
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

from tele_jax.tasks.convolution import conv_general_dilated

LAYOUT = ("NHWC", "HWIO", "NHWC")
PLAIN = ((1, 1), (1, 1))
CASES = [
    # images [b, h, w, c], kernel [i, j, o], strides, dilation, padding
    ((2, 28, 28, 1), (5, 5, 6), (1, 1), (1, 1), "VALID"),
    ((2, 12, 12, 6), (5, 5, 16), (1, 1), (1, 1), "VALID"),
    ((1, 9, 13, 3), (3, 3, 7), (1, 1), (1, 1), "SAME"),  # odd width, batch 1
    ((3, 8, 11, 2), (3, 2, 40), (1, 1), (1, 1), "SAME"),
    ((2, 6, 7, 5), (3, 3, 130), (1, 1), (1, 1), "SAME_LOWER"),
    ((2, 9, 10, 4), (1, 1, 8), (2, 2), (1, 1), "VALID"),  # columns nobody sees
    ((2, 5, 5, 4), (1, 1, 128), (2, 1), (1, 1), "SAME"),
    ((2, 3, 3, 4), (3, 3, 5), (1, 1), (1, 1), "VALID"),  # one output
    ((2, 3, 4, 4), (3, 3, 5), (1, 1), (5, 4), "SAME"),  # windows wider than the maps
    ((2, 5, 4, 3), (2, 2, 5), (1, 1), (1, 1), ((-3, 4), (6, -1))),  # mostly cropped
    ((2, 5, 4, 3), (2, 2, 5), (1, 1), (1, 1), ((9, -7), (0, 0))),  # all rows cropped
    ((2, 7, 8, 3), (3, 3, 5), (1, 1), (1, 1), ((2, -1), (-2, 3))),
    ((2, 6, 4, 3), (3, 3, 5), (1, 1), (1, 1), ((5, -4), (0, 0))),
]
FORMULATIONS = ["split", "patches", "winograd", "grouped"]
PADDINGS = itertools.cycle(["SAME", ((1, 0), (3, 2)), ((0, -1), (-2, 1))])
CASES += [
    ((2, 11, 14, 3), (3, 4, features), strides, dilation, next(PADDINGS))
    for features, strides, dilation in itertools.product(
        (5, 60), ((1, 1), (2, 3)), ((1, 1), (3, 2))
    )
]


def reference(x, kernel, strides, padding, **options):
    """XLA's, with explicit padding done before: its own crops wrongly on a CPU."""
    if not isinstance(padding, str):
        config = ((0, 0, 0), *((*pair, 0) for pair in padding), (0, 0, 0))
        x, padding = lax.pad(x, 0.0, config), "VALID"
    return lax.conv_general_dilated(x, kernel, strides, padding, **options)


def problem(case, slots=None):
    """Images, kernel, a cotangent, and the convolution as a function of both."""
    images, (rows, columns, features), strides, dilation, padding = case
    keys = jax.random.split(jax.random.key(0), 3)
    lead = () if slots is None else (slots,)
    x = jax.random.normal(keys[0], (*lead, *images))
    kernel = jax.random.normal(keys[1], (*lead, rows, columns, images[-1], features))

    def using(convolution):
        def apply(x, kernel):
            options = {"rhs_dilation": dilation, "dimension_numbers": LAYOUT}
            return convolution(x, kernel, strides, padding, **options)

        return apply if slots is None else jax.vmap(apply)

    shape = jax.eval_shape(using(reference), x, kernel).shape
    return (x, kernel), jax.random.normal(keys[2], shape), using


def check(case, slots=None, **formulation):
    inputs, cotangent, using = problem(case, slots)
    ours = functools.partial(conv_general_dilated, **formulation)

    @jax.jit
    def both(x, kernel):
        got, expected = (
            (y, pullback(cotangent))
            for y, pullback in (
                jax.vjp(using(convolution), x, kernel)
                for convolution in (ours, reference)
            )
        )
        return got, expected

    got, expected = both(*inputs)
    # Sums of up to 500 terms of size 1, rounded to 2⁻²⁴ each: 1e-4 is ten times that.
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolution_and_its_gradients_are_those_of_xla(case):
    check(case)


@pytest.mark.parametrize("case", CASES[1:4] + CASES[5:6] + CASES[-1:], ids=str)
def test_a_kernel_per_slot(case):
    check(case, slots=3)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_a_kernel_per_slot_in_every_formulation(formulation):
    check(CASES[2], slots=3, formulation=formulation)


def test_no_grouped_convolution_is_left_under_vmap():
    inputs, _, using = problem(CASES[1], slots=3)
    text = str(jax.make_jaxpr(using(conv_general_dilated))(*inputs))
    assert "dot_general" in text
    assert "conv_general_dilated" not in text


@pytest.mark.parametrize(
    ("x", "kernel", "strides", "options"),
    [
        ((2, 4, 8, 8), (6, 4, 3, 3), (1, 1), {}),  # NCHW, OIHW
        ((2, 8, 8, 4), (3, 3, 2, 6), (1, 1), {"feature_group_count": 2}),
        ((2, 8, 8, 4), (3, 3, 4, 6), (1, 1), {"lhs_dilation": (2, 1)}),
        ((2, 8, 8, 4), (3, 3, 4, 6), (1, 1), {"batch_group_count": 2}),
        ((2, 8, 8, 4), (3, 3, 4, 6), (1, 1), {"precision": ("high", "highest")}),
        ((0, 8, 8, 4), (3, 3, 4, 6), (1, 1), {}),
        ((2, 8, 4), (3, 4, 6), (1,), {"dimension_numbers": ("NWC", "WIO", "NWC")}),
    ],
)
def test_everything_else_is_left_to_lax(x, kernel, strides, options):
    if kernel[0] != 6:
        options = {"dimension_numbers": LAYOUT, **options}
    x, kernel = (jax.random.normal(jax.random.key(0), shape) for shape in (x, kernel))
    expected = lax.conv_general_dilated(
        x, kernel, strides, [(1, 1)] * len(strides), **options
    )
    got = conv_general_dilated(x, kernel, strides, [(1, 1)] * len(strides), **options)
    chex.assert_trees_all_equal(got, expected)


@pytest.mark.parametrize("formulation", ["split", "patches", "grouped"])
def test_precision_and_element_type_reach_the_products(formulation):
    x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))

    def apply(x, kernel):
        options = {"precision": "highest", "preferred_element_type": jnp.float32}
        options["formulation"] = formulation
        return conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT, **options
        )

    half = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    assert apply(*half).dtype == jnp.float32
    (product,) = [
        equation
        for equation in jax.make_jaxpr(apply)(*half).eqns
        if equation.primitive.name in ("dot_general", "conv_general_dilated")
    ]
    assert product.params["precision"] == (lax.Precision.HIGHEST,) * 2


@pytest.mark.parametrize("formulation", ["split", "patches"])
def test_bfloat16_is_rounded_once(formulation):
    (x, kernel), _, using = problem(((2, 9, 9, 16), (5, 5, 16), *PLAIN, "SAME"))
    x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    exact = using(reference)(x.astype(jnp.float32), kernel.astype(jnp.float32))
    got = using(functools.partial(conv_general_dilated, formulation=formulation))
    assert got(x, kernel).dtype == jnp.bfloat16
    # Half a unit of its 8 significant bits.
    chex.assert_trees_all_close(
        got(x, kernel).astype(jnp.float32), exact, rtol=1.01 * 2**-8, atol=1e-4
    )


@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR", 2])
def test_flax_layers_take_it(padding):
    x = jax.random.normal(jax.random.key(0), (2, 9, 9, 3))
    options = {"strides": 2, "padding": padding}
    linen = [
        nn.Conv(4, (3, 3), **options, **field).init_with_output(jax.random.key(1), x)[0]
        for field in ({}, {"conv_general_dilated": conv_general_dilated})
    ]
    chex.assert_trees_all_close(*linen, rtol=1e-5, atol=1e-5)
    nnx_layers = [
        nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0), **options, **field)(x)
        for field in ({}, {"conv_general_dilated": conv_general_dilated})
    ]
    chex.assert_trees_all_close(*nnx_layers, rtol=1e-5, atol=1e-5)


def can_be_written(case, formulation):
    _, (*kernel, _), strides, dilation, _ = case
    once = strides == (1, 1)
    return {
        "split": once,
        "patches": True,
        "grouped": True,
        "winograd": once and kernel == [3, 3] and dilation == (1, 1),
    }[formulation]


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_formulation_is_the_convolution(case, formulation):
    inputs, cotangent, using = problem(case)
    ours = functools.partial(conv_general_dilated, formulation=formulation)
    if not can_be_written(case, formulation):
        with pytest.raises(
            ValueError, match=rf"'{formulation}', .* not for this one; expected 'patch"
        ):
            using(ours)(*inputs)
        return
    expected, pullback = jax.vjp(using(reference), *inputs)
    got, pull = jax.vjp(using(ours), *inputs)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-4)
    chex.assert_trees_all_close(
        pull(cotangent), pullback(cotangent), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_rounding_is_that_of_float32(formulation):
    """Sums of pixels before the products cost less than one of the 24 digits."""
    case = ((4, 8, 8, 64), (3, 3, 64), *PLAIN, "SAME")
    inputs, cotangent, using = problem(case)

    def lost(convolution):
        with jax.enable_x64(True):
            exact, (got, pullback) = (
                (y, pull(cotangent.astype(y.dtype)))
                for y, pull in (
                    jax.vjp(using(reference), *(x.astype("float64") for x in inputs)),
                    jax.vjp(using(convolution), *inputs),
                )
            )
            return [
                float(jnp.sqrt(jnp.mean((a - b) ** 2) / jnp.mean(b**2)))
                for a, b in zip(
                    jax.tree.leaves((got, pullback)),
                    jax.tree.leaves(exact),
                    strict=True,
                )
            ]

    ours = functools.partial(conv_general_dilated, formulation=formulation)
    for found, of_xla in zip(lost(ours), lost(reference), strict=True):
        assert found < 2 * of_xla < 1e-6


@pytest.mark.parametrize(
    ("images", "kernel", "expected"),
    [
        ((32, 32, 32, 16), (3, 3, 16), {"split"}),
        ((32, 32, 32, 3), (3, 3, 64), {"patches"}),
        ((4, 8, 8, 64), (3, 3, 64), {"split"}),  # few images, a large kernel
        ((2, 8, 8, 64), (3, 3, 64), {"patches"}),
        ((32, 2, 2, 512), (3, 3, 512), {"patches"}),
        ((32, 8, 8, 256), (3, 3, 256), {"winograd"}),
        ((32, 4, 4, 512), (3, 3, 512), {"winograd"}),
    ],
)
def test_the_cheapest_formulation_is_chosen(images, kernel, expected):
    inputs, _, using = problem((images, kernel, (1, 1), (1, 1), "SAME"))
    assert used(using(conv_general_dilated), inputs, "cpu") == expected


def used(function, inputs, platform):
    exported = jax.export.export(jax.jit(function), platforms=[platform])(*inputs)
    return set(re.findall(r"/conv_(\w+)/", str(exported.mlir_module())))


@pytest.mark.parametrize(
    ("platform", "dtype", "options"),
    [
        ("tpu", jnp.float32, {}),
        ("cpu", jnp.float32, {"precision": "highest"}),
        ("cpu", jnp.bfloat16, {}),
    ],
)
def test_pixels_are_summed_only_where_products_are_not_rounded(
    platform, dtype, options
):
    inputs, _, using = problem(((32, 8, 8, 256), (3, 3, 256), *PLAIN, "SAME"))
    ours = using(functools.partial(conv_general_dilated, **options))
    assert used(ours, [x.astype(dtype) for x in inputs], platform) == {"split"}


@pytest.mark.parametrize(
    ("case", "formulation"),
    [*((CASES[2], name) for name in FORMULATIONS), (CASES[5], "patches")],
    ids=str,
)
def test_derivatives_in_any_order_and_direction(case, formulation):
    inputs, _, using = problem(case)
    ones = jax.tree.map(jnp.ones_like, inputs)

    def curvature(convolution):
        def loss(inputs):
            return jnp.sum(jnp.sin(using(convolution)(*inputs)))

        return jax.jvp(jax.grad(loss), (inputs,), (ones,))[1]

    ours = functools.partial(conv_general_dilated, formulation=formulation)
    chex.assert_trees_all_close(
        curvature(ours), curvature(reference), rtol=1e-3, atol=1e-3
    )


def test_no_convolution_is_left_in_the_gradients():
    """XLA brings those into its fast layout outside of loops only."""
    inputs, cotangent, using = problem(CASES[1], slots=3)

    def gradients(x, kernel):
        return jax.vjp(using(conv_general_dilated), x, kernel)[1](cotangent)

    assert "conv_general_dilated" not in str(jax.make_jaxpr(gradients)(*inputs))


def test_an_infinite_weight_touches_only_what_it_multiplies():
    kernel = jnp.ones((1, 2, 1, 1)).at[0, 1].set(jnp.inf)
    maps = conv_general_dilated(
        jnp.ones((1, 1, 6, 1)), kernel, (1, 1), "VALID", dimension_numbers=LAYOUT
    )
    chex.assert_trees_all_equal(maps, jnp.full((1, 1, 5, 1), jnp.inf))


def test_maps_smaller_than_the_kernel_are_refused():
    x, kernel = jnp.ones((2, 3, 4, 1)), jnp.ones((5, 5, 1, 6))
    with pytest.raises(
        ValueError, match=r"^conv_general_dilated: padded maps of 3 x 4 .* 5 x 5;"
    ):
        conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=LAYOUT)


def test_an_unknown_formulation_is_refused():
    inputs, _, using = problem(CASES[0])
    ours = functools.partial(conv_general_dilated, formulation="fft")
    with pytest.raises(ValueError, match=r"got formulation='fft', .*'patches'"):
        using(ours)(*inputs)


def test_a_formulation_of_what_is_left_to_lax_is_refused():
    x, kernel = jnp.ones((2, 4, 8, 8)), jnp.ones((6, 4, 3, 3))  # NCHW, OIHW
    given = functools.partial(conv_general_dilated, x, kernel, (1, 1), "SAME")
    with pytest.raises(ValueError, match=r"'patches', .*; expected 'grouped'; leave"):
        given(formulation="patches")
    chex.assert_trees_all_equal(given(formulation="grouped"), given())


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_a_pixel_that_is_lost_reaches_only_those_who_see_it(formulation):
    ours = functools.partial(
        conv_general_dilated,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=LAYOUT,
        formulation=formulation,
    )
    for row, column in itertools.product(range(4), range(5)):
        maps = jnp.ones((1, 4, 5, 2)).at[0, row, column, 1].set(jnp.nan)
        lost = jnp.isnan(ours(maps, jnp.ones((3, 3, 2, 3)))).all(3)[0]
        rows, columns = jnp.mgrid[:4, :5]
        sees = (abs(rows - row) <= 1) & (abs(columns - column) <= 1)
        chex.assert_trees_all_equal(lost, sees)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_what_is_cropped_is_not_looked_at(formulation):
    maps = jnp.ones((1, 8, 8, 4)).at[:, 0].set(jnp.nan)

    def total(kernel):
        options = {"dimension_numbers": LAYOUT, "formulation": formulation}
        padding = ((-1, 1), (1, 1))
        return conv_general_dilated(maps, kernel, (1, 1), padding, **options).sum()

    chex.assert_tree_all_finite(jax.grad(total)(jnp.ones((3, 3, 4, 5))))


@pytest.mark.parametrize("sizes", ["b, 8, 8", "2, h, 8", "b, h, w"])
def test_sizes_can_be_left_open(sizes):
    *sizes, channels = jax.export.symbolic_shape(f"{sizes}, 64")
    maps = jax.ShapeDtypeStruct((*sizes, channels), jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, 64, 64), jnp.float32)
    convolve = functools.partial(
        conv_general_dilated,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=LAYOUT,
    )
    exported = jax.export.export(jax.jit(convolve))(maps, kernel)
    assert exported.out_avals[0].shape == (*sizes, 64)


def test_paddings_are_two():
    with pytest.raises(ValueError, match="got 1 pairs of padding, expected 2"):
        conv_general_dilated(
            jnp.ones((1, 4, 4, 1)),
            jnp.ones((3, 3, 1, 1)),
            (1, 1),
            ((1, 1),),
            dimension_numbers=LAYOUT,
        )
