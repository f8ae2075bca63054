"""Arithmetic on trees against float64 NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tele_jax import tree


def _slots(num_slots, offset=0.0):
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = ((), (4,), (2, 3))
    leaves = [
        offset + jax.random.normal(key, (num_slots, *shape))
        for key, shape in zip(keys, shapes, strict=True)
    ]
    return {"a": leaves[0], "b": (leaves[1], leaves[2])}


def _columns(slots):
    """All numbers of a slot in one row, float64[k, d]."""
    leaves = jax.tree.leaves(slots)
    return np.hstack(
        [np.asarray(leaf, float).reshape(len(leaf), -1) for leaf in leaves]
    )


@pytest.mark.parametrize("num_slots", [1, 2, 5, 8])
def test_average_and_consensus_distance(num_slots):
    slots = _slots(num_slots)
    rows = _columns(slots)
    mean = rows.mean(axis=0)
    average = jax.tree.map(lambda leaf: leaf[None], tree.average(slots))
    np.testing.assert_allclose(_columns(average)[0], mean, rtol=1e-5, atol=1e-6)
    expected = ((rows - mean) ** 2).sum() / num_slots
    np.testing.assert_allclose(tree.consensus_distance(slots), expected, rtol=1e-5)
    assert tree.num_slots(slots) == num_slots


def test_consensus_distance_does_not_cancel_far_from_zero():
    slots = _slots(8, offset=1000.0)
    rows = _columns(slots)
    expected = ((rows - rows.mean(axis=0)) ** 2).sum() / 8
    # Numbers near 1000 are spaced by 2⁻¹⁴, and the float32 mean is as far off.
    np.testing.assert_allclose(tree.consensus_distance(slots), expected, rtol=1e-3)


def test_squared_norm():
    slots = _slots(5)
    expected = (_columns(slots) ** 2).sum()
    np.testing.assert_allclose(tree.squared_norm(slots), expected, rtol=1e-6)
    assert tree.squared_norm({}).tolist() == 0.0


def test_stack_copies_the_model_to_every_slot():
    params = {"w": jnp.arange(6.0).reshape(2, 3), "b": 4.0}
    slots = tree.stack(params, 5)
    chex.assert_shape([slots["w"], slots["b"]], [(5, 2, 3), (5,)])
    for slot in range(5):
        one = jax.tree.map(lambda leaf, slot=slot: leaf[slot], slots)
        chex.assert_trees_all_equal(one, jax.tree.map(jnp.asarray, params))


def test_num_bytes_counts_every_dtype():
    params = {"a": jnp.ones((4, 3)), "b": jnp.ones(5, jnp.bfloat16), "c": jnp.int8(1)}
    assert tree.num_bytes(params) == 4 * 12 + 2 * 5 + 1
    shapes = jax.eval_shape(lambda: jnp.ones((2**20, 2**12)))
    assert tree.num_bytes({"big": shapes}) == 2**34
