"""Arrays that are computed once: what they are, and what is compiled."""

import re

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import tele_jax as tele
from tele_jax._once import gradient_transposed, once, once_forward
from tele_jax.gossip import mix
from tele_jax.tasks.convolution import conv_general_dilated


def cubes(array, through):
    return jnp.sum(through(array**2) * array)


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: f,
        jax.grad,
        jax.hessian,
        lambda f: jax.vmap(jax.grad(f), 1),
        lambda f: jax.grad(jax.checkpoint(f)),
        lambda f: jax.jit(jax.linearize(f, jnp.ones((3, 2)))[1]),
    ],
    ids=["value", "gradient", "hessian", "vmap", "checkpoint", "linearize"],
)
@pytest.mark.parametrize("function", [once, once_forward, gradient_transposed])
def test_it_is_the_same_array_under_every_transform(transform, function):
    array = jax.random.normal(jax.random.key(0), (3, 2))
    got, expected = (
        transform(lambda array, through=through: cubes(array, through))(array)
        for through in (function, lambda array: array)
    )
    chex.assert_trees_all_close(got, expected, rtol=1e-6)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only done on a CPU")
def test_maps_are_rectified_once_for_all_columns_of_a_kernel():
    maps = jax.random.normal(jax.random.key(0), (8, 16, 16, 32))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 32, 32))
    layout = ("NHWC", "HWIO", "NHWC")

    def rectified_and_convolved(maps):
        return conv_general_dilated(
            nn.relu(2 * maps),
            kernel,
            (1, 1),
            "SAME",
            dimension_numbers=layout,
            formulation="split",
        )

    text = jax.jit(rectified_and_convolved).lower(maps).compile().as_text()
    assert len(re.findall(r" maximum\(", text)) == 1
    assert 'inlineable="false"' in text


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only done on a CPU")
def test_models_are_computed_once_for_all_who_hear_them():
    mixing = tele.graphs.ring(8).at(0)

    def stepped(slots, gradients):
        return mix(mixing, slots - gradients)

    slots = jnp.ones((8, 300))
    text = jax.jit(stepped).lower(slots, slots).compile().as_text()
    loops = text.split("\n\n")
    steps, looked_up = (
        {n for n, loop in enumerate(loops) if f" {operation}(" in loop}
        for operation in ("subtract", "gather")
    )
    assert min(len(steps), len(looked_up)) > 0
    assert not steps & looked_up
