"""Layers of the models against flax and against float64."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tele_jax.tasks.models.layers import GroupNorm, dense

NOISE = np.random.default_rng(0).normal(size=(2, 16, 12, 8))
"""Of maps [B, H, W, C]."""


def far_from_the_rest(value):
    """The row that the variance is shifted by is like no other."""
    maps = 5 + 1e-3 * NOISE
    maps[:, 8] = value
    return maps


def one_pixel():
    maps = np.zeros_like(NOISE)
    maps[:, 8, 3] = 100
    return maps


HARD = {
    "easy": (NOISE, 1e-6),
    # float32 knows these to 1e-4 and 0.01 of their standard deviation.
    "large mean": (1e3 + NOISE, 2e-4),
    "larger mean": (1e3 + 0.01 * NOISE, 2e-2),
    # The shift is as wrong as it can be: the variance loses a factor of H = 16.
    "another row": (far_from_the_rest(9), 5e-5),
    "a row far away": (far_from_the_rest(1e4), 5e-5),
    "one pixel": (one_pixel(), 1e-5),
}


def normalised(maps, groups):
    """(x − E[x]) / √(Var x + ε) over an example's group, in float64."""
    grouped = maps.astype(np.float64).reshape(*maps.shape[:3], groups, -1)
    mean = grouped.mean((1, 2, 4), keepdims=True)
    variance = grouped.var((1, 2, 4), keepdims=True)
    return ((grouped - mean) / np.sqrt(variance + 1e-5)).reshape(maps.shape)


@pytest.mark.parametrize("layout", ["BHWC", "WCHB"])
@pytest.mark.parametrize(("maps", "error"), HARD.values(), ids=HARD)
def test_group_norm_loses_no_digits(maps, error, layout):
    maps = maps.astype(np.float32)
    around = ["BHWC".index(axis) for axis in layout]
    norm = GroupNorm(4, layout)
    got, _ = norm.init_with_output(jax.random.key(0), maps.transpose(around))
    got = got.transpose([layout.index(axis) for axis in "BHWC"])
    expected = normalised(maps, 4)
    chex.assert_trees_all_close(
        np.float64(got), expected, rtol=0, atol=error * abs(expected).max()
    )


@pytest.mark.parametrize("value", [0.0, 7.3, -1e9])
def test_group_norm_of_a_constant_is_its_bias(value):
    norm, maps = GroupNorm(2), jnp.full((1, 5, 5, 4), value)
    params = {"params": {"scale": jnp.ones(4), "bias": jnp.arange(4.0)}}
    gradient = jax.grad(lambda maps: norm.apply(params, maps).sum())(maps)
    got = norm.apply(params, maps)
    chex.assert_tree_all_finite((got, gradient))
    expected = jnp.broadcast_to(jnp.arange(4.0), maps.shape)
    # At 1e9 float32 steps by 64: the mean is off by one of them, and ε is 1e-5.
    if value > -1:
        chex.assert_trees_all_close(got, expected, atol=1e-3)


def test_group_norm_has_the_gradient_of_flax():
    """The row that its variance is shifted by adds nothing."""
    with jax.enable_x64(True):
        ours, flaxs = GroupNorm(4), nn.GroupNorm(4, epsilon=1e-5)
        maps = jnp.asarray(3 + NOISE)
        towards = jnp.asarray(NOISE[::-1])
        params = jax.tree.map(
            lambda leaf: leaf + 0.3 * jnp.arange(8), ours.init(jax.random.key(0), maps)
        )

        def gradient(norm):
            def product(params, maps):
                return (norm.apply(params, maps) * towards).sum()

            return jax.grad(product, (0, 1))(params, maps)

        chex.assert_trees_all_close(gradient(ours), gradient(flaxs), rtol=1e-9)


@pytest.mark.parametrize("shape", [(32, 50), (2, 3, 50)])
@pytest.mark.parametrize("features", [1, 10, 12, 13])
def test_a_dense_layer_is_that_of_flax(features, shape):
    inputs = jax.random.normal(jax.random.key(0), shape)
    params = dense(features).init(jax.random.key(1), inputs)

    def found(layer):
        def total(params, inputs):
            return jnp.sum(jnp.sin(layer.apply(params, inputs)))

        return jax.value_and_grad(total, (0, 1))(params, inputs)

    ours, flax = found(dense(features)), found(nn.Dense(features))
    # Sums of 50 products and of 32 gradients, in another order.
    chex.assert_trees_all_close(ours, flax, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only done on a CPU")
@pytest.mark.parametrize(
    ("features", "product"), [(10, {"10,50"}), (20, {"50,20"})], ids=["few", "more"]
)
def test_the_gradient_of_few_outputs_is_computed_as_its_transpose(features, product):
    inputs = jnp.ones((32, 50))
    params = dense(features).init(jax.random.key(1), inputs)

    def step(params, inputs):
        gradient = jax.grad(lambda p: dense(features).apply(p, inputs).sum() ** 2)
        return jax.tree.map(jnp.subtract, params, gradient(params))

    text = jax.jit(step).lower(params, inputs).compile().as_text()
    shapes = set(re.findall(r"= f32\[(\d+,\d+)\]\S* dot\(", text))
    assert shapes - {f"32,{features}"} == product
