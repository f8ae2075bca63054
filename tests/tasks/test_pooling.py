"""Max-pooling against flax's, and where its gradients go."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tele_jax.tasks.pooling import max_pool


@pytest.mark.parametrize(("width", "height"), [(4, 6), (5, 7), (2, 2)])
def test_max_pool_is_that_of_flax(width, height):
    maps = jax.random.normal(jax.random.key(0), (2, height, width, 3))
    expected = nn.max_pool(maps, (2, 2), (2, 2))
    chex.assert_trees_all_equal(max_pool(maps), expected)
    innermost = max_pool(maps.transpose(2, 3, 1, 0), rows=2, columns=0)
    chex.assert_trees_all_equal(innermost, expected.transpose(2, 3, 1, 0))


@pytest.mark.parametrize("window", list(itertools.product((0.0, 1.0), repeat=4)))
def test_a_tie_sends_the_gradient_to_the_first(window):
    rows = np.array(window).reshape(2, 2)  # [h, w]
    expected = np.zeros(4)
    expected[np.argmax(rows)] = 1.0
    maps = jnp.asarray(rows.reshape(1, 2, 2, 1))
    gradient = jax.grad(lambda maps: max_pool(maps).sum())(maps)
    np.testing.assert_array_equal(gradient[0, :, :, 0], expected.reshape(2, 2))


@pytest.mark.parametrize("place", range(4))
def test_max_pool_keeps_a_nan(place):
    maps = jnp.arange(4.0).at[place].set(jnp.nan).reshape(1, 2, 2, 1)
    assert jnp.isnan(max_pool(maps)).all()


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (2, 0), (0, 3)])
def test_derivatives_forwards_are_those_backwards(rows, columns):
    shape = (4, 5, 6, 7)
    maps, along = jax.random.normal(jax.random.key(0), (2, *shape))

    def pool(maps):
        return max_pool(maps, rows, columns)

    pooled, forwards = jax.jvp(pool, (maps,), (along,))
    cotangent = jax.random.normal(jax.random.key(1), pooled.shape)
    (backwards,) = jax.vjp(pool, maps)[1](cotangent)
    assert jnp.vdot(cotangent, forwards) == pytest.approx(
        float(jnp.vdot(backwards, along)), rel=1e-5
    )
    # A place in every window, and none for the odd row or column.
    assert jnp.count_nonzero(backwards) == pooled.size
