"""Work on many models that is done piece by piece, over what it reads."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tele_jax import _in_place


def _one(scale, model, memory, number):
    """A step of one slot: what it had, changed, and something besides."""
    new = jax.tree.map(lambda x, m: x - scale * jnp.sin(m) * number, model, memory)
    key = jax.random.fold_in(jax.random.key(0), number)
    return new, memory, (number > 1, key, model["w"].sum(keepdims=True))


def _slots(num_rows):
    keys = jax.random.split(jax.random.key(1), 4)
    draw = [
        jax.random.normal(key, (num_rows, *s))
        for key, s in zip(keys, _SHAPES, strict=True)
    ]
    model, memory = ({"w": a, "b": b} for a, b in (draw[:2], draw[2:]))
    return model, memory, jnp.arange(num_rows)


_SHAPES = ((3, 2), (), (3, 2), ())


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7])
def test_rows_after_the_others_are_all_rows(size):
    slots = _slots(7)
    expected = jax.vmap(functools.partial(_one, 1.0))(*slots)
    found = jax.jit(lambda *slots: _in_place.over_rows(_one, size, 1.0, *slots))(*slots)
    chex.assert_trees_all_equal_shapes_and_dtypes(found, expected)
    plain = [(*tree[:2], tree[2][0], tree[2][2]) for tree in (found, expected)]
    chex.assert_trees_all_close(*plain, rtol=1e-6)
    assert (found[2][1] == expected[2][1]).all()


def test_a_result_is_written_over_an_array_of_its_kind_only_once():
    rows = jnp.arange(6.0)

    def both(c, a, b):
        return a + b, a - b, c * a * b  # three results of the kind of two arrays

    found = _in_place.over_rows(both, 2, 3.0, rows, 2 * rows)
    chex.assert_trees_all_close(found, both(3.0, rows, 2 * rows))


def test_a_result_may_be_a_python_number():
    found = _in_place.over_rows(
        lambda _, x: {"size": 3.0, "x": x}, 1, None, jnp.ones(2)
    )
    assert found["size"].tolist() == [3.0, 3.0]


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("take", [jax.grad, jax.jacfwd, jax.vmap, jax.hessian])
def test_rows_have_the_derivatives_and_the_batches_of_vmap(size, take):
    slots = _slots(5)

    def total(over, scale, models):
        new, _, (_, _, sums) = over(scale, models, *slots[1:])
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves((new, sums)))

    def by_rows(*given):
        return _in_place.over_rows(_one, size, *given)

    def over_all(scale, *slots):
        return jax.vmap(functools.partial(_one, scale))(*slots)

    scale = jnp.arange(3.0) if take is jax.vmap else 0.7
    for wanted in (
        lambda over: jax.jit(take(lambda scale: total(over, scale, slots[0])))(scale),
        lambda over: jax.grad(lambda models: total(over, 0.7, models))(slots[0]),
    ):
        found, expected = wanted(by_rows), wanted(over_all)
        chex.assert_trees_all_close(found, expected, rtol=1e-5)


def test_a_function_may_have_what_it_is_differentiated_in_from_outside():
    rows = jnp.arange(5.0)

    def total(scale):
        over = _in_place.over_rows(lambda _, x: x * scale, 2, None, rows)
        return jnp.sum(over**2)

    for gradient in (jax.grad(total), jax.grad(jax.jit(total))):
        np.testing.assert_allclose(gradient(2.0), 4 * 30, rtol=1e-6)


def _halves(scale, own, *others):
    """Every row becomes the mean with the next, and all that the others hold."""
    heard = sum(jnp.sum(other, 0, keepdims=True) for other in others)
    return scale * (own + jnp.roll(own, 1, 0)) / 2 + heard


SIZES = [
    (3, (511,)),  # in one piece
    (3, (70_000,)),  # two pieces and a bit
    (64, (40, 80)),
    (600, (7, 300)),  # as few columns as are read at a time
]


@pytest.mark.parametrize(("num_rows", "shape"), SIZES)
@pytest.mark.parametrize("num_others", [0, 2])
def test_columns_after_the_others_are_all_columns(num_rows, shape, num_others):
    keys = jax.random.split(jax.random.key(2), 3)
    array = jax.random.normal(keys[0], (num_rows, *shape))
    array = array.at[1, ..., -5].set(jnp.nan)
    others = [jax.random.normal(key, (2, *shape)) for key in keys[1:][:num_others]]
    found = jax.jit(lambda *a: _in_place.over_columns(_halves, *a))(1.0, array, *others)
    expected = _halves(1.0, array, *others)
    chex.assert_trees_all_close(found, expected, rtol=1e-6, atol=1e-6)
    assert found.dtype == array.dtype


@pytest.mark.parametrize(
    "dtype", ["bfloat16", "float16", "float8_e4m3fn", "float4_e2m1fn"]
)
def test_short_floats_are_those_of_the_whole(dtype):
    array = jax.random.normal(jax.random.key(4), (8, 70_000)).astype(dtype)
    array = array.at[1, 5].set(jnp.nan)
    other = jnp.ones((2, 70_000))

    def doubled(_, own, other):
        return (own.astype(jnp.float32) + other[:1]).astype(own.dtype)

    for over in (
        _in_place.over_columns(doubled, None, array, other),
        _in_place.over_rows(
            lambda _, a: doubled(None, a[None], other)[0], 3, None, array
        ),
    ):
        assert over.dtype == array.dtype
        found, expected = (a.astype(float) for a in (over, doubled(0, array, other)))
        chex.assert_trees_all_equal(found, expected)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only done on a CPU")
def test_short_floats_are_not_converted_for_every_piece():
    array = jnp.ones((64, 100_000), jnp.bfloat16)

    def gossip(array):
        return _in_place.over_columns(_halves, jnp.bfloat16(1), array)

    def step(array):
        return _in_place.over_rows(_reflected, 1, jnp.bfloat16(1), array)

    for work in (gossip, step):
        text = jax.jit(work, donate_argnums=0).lower(array).compile().as_text()
        assert not re.findall(r"f32\[64,100000\]", text)


def test_columns_have_the_gradients_and_the_batches_of_the_whole():
    array = jax.random.normal(jax.random.key(3), (4, 40_000))

    def total(over, scale, array):
        return jnp.sum(over(scale, array) ** 3) / 1e4

    def by_columns(scale, array):
        return _in_place.over_columns(_halves, scale, array)

    for take in (jax.grad, jax.value_and_grad):
        both = (
            jax.jit(take(functools.partial(total, over), argnums=(0, 1)))(0.5, array)
            for over in (by_columns, _halves)
        )
        chex.assert_trees_all_close(*both, rtol=1e-4, atol=1e-6)
    scales = jnp.array([0.5, 2.0])
    found = jax.vmap(by_columns, (0, None))(scales, array)
    expected = jax.vmap(_halves, (0, None))(scales, array)
    chex.assert_trees_all_close(found, expected, rtol=1e-6)


def test_a_gradient_does_not_go_through_all_models_for_every_piece():
    array = jnp.ones((64, 40_000))

    def step(scale, array):
        after = _in_place.over_rows(jnp.multiply, 1, scale, array)
        return jnp.sum(_in_place.over_columns(_halves, scale, after) ** 2)

    def work(function):
        compiled = jax.jit(function).lower(0.5, array).compile()
        return compiled.memory_analysis().temp_size_in_bytes / array.nbytes

    # It keeps what it needs, once, and no loop adds a whole array for a piece.
    assert work(jax.grad(step, 1)) < 8
    jaxpr = str(jax.make_jaxpr(jax.grad(step, 1))(0.5, array))
    assert "dynamic_update_slice" not in jaxpr


def _reflected(scale, row):
    return row - scale * jnp.sin(row[::-1])


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only done on a CPU")
@pytest.mark.parametrize(
    ("dtype", "arrays"), [("float32", 0), ("float16", 0), ("bfloat16", 1)]
)
def test_nothing_is_kept_beside_what_is_read_but_bits(dtype, arrays):
    array, one = jnp.ones((64, 100_000), dtype), jnp.ones((), dtype)

    def rounds(work):
        def many(array):
            return jax.lax.scan(lambda a, _: (work(a), None), array, length=3)[0]

        compiled = jax.jit(many, donate_argnums=0).lower(array).compile()
        return compiled.memory_analysis().temp_size_in_bytes / array.nbytes

    def gossip(array):
        return _in_place.over_columns(_halves, one, array)

    def step(array):
        return _in_place.over_rows(_reflected, 1, one, array)

    assert arrays <= rounds(lambda array: gossip(step(array))) < arrays + 0.1
    plain = rounds(lambda array: _halves(one, jax.lax.map(jnp.sin, array)))
    assert plain > arrays + 0.9
