"""The draw: every ordered tuple equally often, at a cost that does not grow with n."""

import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from tele_jax.draw import draw_active, resolve_swaps

BIG = 10**6


def _fisher_yates(num_nodes, swaps):
    places = list(range(num_nodes))
    for i, j in enumerate(swaps):
        places[i], places[j] = places[j], places[i]
    return tuple(places[: len(swaps)])


@pytest.mark.parametrize(
    ("num_nodes", "num_active"),
    [(1, 1), (2, 2), (3, 2), (4, 4), *((5, k) for k in range(1, 6)), (6, 4)],
)
def test_swaps_and_ordered_tuples_are_in_bijection(num_nodes, num_active):
    # Uniform swaps then make uniform tuples, exactly.
    swaps = list(itertools.product(*(range(i, num_nodes) for i in range(num_active))))
    resolved = jax.jit(jax.vmap(resolve_swaps))(jnp.array(swaps, jnp.int32))
    chex.assert_shape(resolved, (math.perm(num_nodes, num_active), num_active))
    got = [tuple(row) for row in np.asarray(resolved).tolist()]
    assert got == [_fisher_yates(num_nodes, row) for row in swaps]
    assert sorted(got) == list(itertools.permutations(range(num_nodes), num_active))


@pytest.mark.parametrize(("num_nodes", "num_active"), [(40, 40), (50, 33)])
def test_random_long_swaps_are_fisher_yates(num_nodes, num_active):
    rng = np.random.default_rng(num_nodes)
    lowest = np.arange(num_active)
    swaps = rng.integers(lowest, num_nodes, size=(100, num_active))
    resolved = jax.jit(jax.vmap(resolve_swaps))(jnp.asarray(swaps, jnp.int32))
    expected = [_fisher_yates(num_nodes, row) for row in swaps.tolist()]
    np.testing.assert_array_equal(resolved, expected)


@pytest.mark.parametrize(("num_nodes", "num_active"), [(5, 2), (4, 4), (6, 3)])
def test_ordered_tuples_are_uniform(num_nodes, num_active):
    num_tuples = math.perm(num_nodes, num_active)
    keys = jax.random.split(jax.random.key(5), 400 * num_tuples)
    draw = jax.jit(jax.vmap(lambda key: draw_active(key, num_nodes, num_active)))
    tuples = np.asarray(draw(keys))
    chex.assert_shape(tuples, (len(keys), num_active))
    _, counts = np.unique(tuples, axis=0, return_counts=True)
    assert len(counts) == num_tuples
    # Laurent and Massart 2000: P(χ²_ν ≥ ν + 2√(νx) + 2x) ≤ e^−x, here 1e-6.
    x, freedom = math.log(1e6), num_tuples - 1
    limit = freedom + 2 * math.sqrt(freedom * x) + 2 * x
    assert ((counts - 400) ** 2 / 400).sum() < limit


def test_many_of_very_many_are_distinct_and_in_range():
    keys = jax.random.split(jax.random.key(6), 20)
    drawn = jax.jit(jax.vmap(lambda key: draw_active(key, BIG, 256)))(keys)
    assert drawn.dtype == jnp.int32
    drawn = np.asarray(drawn)
    for row in drawn:
        assert len(set(row.tolist())) == 256
        assert row.min() >= 0
        assert row.max() < BIG
    # The mean of 5120 uniform numbers, within 5 standard errors of n/√12.
    deviation = BIG / math.sqrt(12 * drawn.size)
    assert abs(drawn.mean() - BIG / 2) < 5 * deviation


def test_vmap_over_keys_is_a_loop():
    keys = jax.random.split(jax.random.key(7), 8)
    draw = jax.jit(lambda key: draw_active(key, 20, 6))
    together = jax.jit(jax.vmap(draw))(keys)
    alone = [draw(key) for key in keys]
    np.testing.assert_array_equal(together, np.stack(alone))
    assert len({tuple(row) for row in np.asarray(together).tolist()}) == 8


def _largest_array(function, *args):
    def sizes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (math.prod(v.aval.shape) for v in equation.outvars)
            for inner in jaxprs_in_params(equation.params):
                yield from sizes(inner)

    return max(sizes(jax.make_jaxpr(function)(*args).jaxpr))


def test_no_array_grows_with_the_number_of_nodes():
    key = jax.random.key(0)
    few = _largest_array(lambda key: draw_active(key, 512, 256), key)
    many = _largest_array(lambda key: draw_active(key, BIG, 256), key)
    assert many == few <= 10 * 256
    shuffled = _largest_array(lambda key: jax.random.permutation(key, BIG)[:256], key)
    assert shuffled >= BIG  # the check does find such an array
