"""The banded product against the convolution of XLA."""

import chex
import jax
import jax.numpy as jnp
import pytest
from jax import lax

from tele_jax.tasks.banded import convolve


def reference(maps, kernel):
    layout = ("NHWC", "HWIO", "NHWC")
    x = lax.conv_general_dilated(
        maps.transpose(3, 2, 0, 1), kernel, (1, 1), "VALID", dimension_numbers=layout
    )
    return x.transpose(2, 3, 1, 0)


@pytest.mark.parametrize(
    ("maps", "kernel"),
    [
        ((28, 1, 28, 2), (5, 5, 1, 6)),
        ((12, 6, 12, 2), (5, 5, 6, 16)),
        ((13, 3, 9, 1), (3, 3, 3, 7)),  # odd width, batch 1
        ((11, 2, 8, 3), (3, 2, 2, 40)),  # a last block that is smaller
        ((7, 5, 6, 2), (3, 3, 5, 130)),  # too wide for a band
        ((3, 4, 3, 2), (3, 3, 4, 5)),  # one output
    ],
)
def test_the_banded_product_and_its_gradients_are_those_of_xla(maps, kernel):
    keys = jax.random.split(jax.random.key(0), 3)
    inputs = jax.random.normal(keys[0], maps), jax.random.normal(keys[1], kernel)
    expected, pullback = jax.vjp(reference, *inputs)
    got, pull = jax.vjp(convolve, *inputs)
    cotangent = jax.random.normal(keys[2], expected.shape)
    # Sums of up to 500 terms of size 1, rounded to 2⁻²⁴ each: 1e-4 is ten times that.
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-4)
    chex.assert_trees_all_close(
        pull(cotangent), pullback(cotangent), rtol=1e-4, atol=1e-4
    )


def test_a_kernel_per_slot():
    keys = jax.random.split(jax.random.key(0), 2)
    maps = jax.random.normal(keys[0], (3, 12, 6, 12, 2))
    kernel = jax.random.normal(keys[1], (3, 5, 5, 6, 16))
    expected = jnp.stack([reference(*slot) for slot in zip(maps, kernel, strict=True)])
    got = jax.vmap(convolve)(maps, kernel)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-4)
