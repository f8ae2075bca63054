"""Rows of a large table: what they are, whatever is around them, and who copies."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import tele_jax as tele
from tele_jax.tasks._rows import row_of

N = 20_000
plain = jax.vmap(lambda table, index: table[index], (None, 0))
rows_of = jax.vmap(row_of, (None, 0))
# A line of memory holds 16 numbers of 4 bytes; wide rows and many are left to XLA.
SHAPES = [(1, 99), (4, 5), (15, 3), (16, 3), (17, 2), (64, 16), (65, 1), (101, 4)]


def table_of(width, dtype=jnp.float32):
    count = max(N, 2**18 // width + 1)  # too many for the cache, of int8 too
    return jnp.arange(count * width, dtype=jnp.int32).reshape(-1, width).astype(dtype)


def some(number, seed=0):
    return jax.random.randint(jax.random.key(seed), (number,), 0, N)


@pytest.mark.parametrize(("width", "number"), [*SHAPES, (65, 500)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.int32, jnp.bfloat16, jnp.int8])
def test_they_are_the_rows(width, number, dtype):
    table, indices = table_of(width, dtype), some(number)
    expected = np.asarray(table)[np.asarray(indices)]
    chex.assert_trees_all_equal(jax.jit(rows_of)(table, indices), expected)
    chex.assert_trees_all_equal(row_of(table, indices[0]), expected[0])


@pytest.mark.parametrize("indices", [[-1, 3], [0, N - 1], [N - 1, 0, -N], [7, 7]])
def test_the_ends_of_the_table_are_where_they_were(indices):
    table = table_of(16)[:N]
    expected = np.asarray(table)[indices]
    chex.assert_trees_all_equal(rows_of(table, jnp.array(indices)), expected)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int16, jnp.uint32])
def test_indices_of_other_types(dtype):
    table, indices = table_of(16), jnp.array([5, 0, 99], dtype)
    chex.assert_trees_all_equal(rows_of(table, indices), table[indices])


def test_none_are_none():
    assert rows_of(table_of(16), jnp.zeros(0, jnp.int32)).shape == (0, 16)
    assert row_of(jnp.zeros((N, 0)), jnp.int32(3)).shape == (0,)


def test_their_number_may_be_left_open():
    (number,) = jax.export.symbolic_shape("k")
    indices = jax.ShapeDtypeStruct((number,), jnp.int32)
    table = table_of(16)
    exported = jax.export.export(jax.jit(rows_of))(table, indices)
    chex.assert_trees_all_equal(exported.call(table, some(4)), table[some(4)])


def test_runs_may_read_some_rows_or_others():
    table, indices = table_of(16), some(4)

    def read(flag):
        one, other = (lambda i=i: rows_of(table, i) for i in (indices, indices + 1))
        return jax.lax.cond(flag, one, other)

    got = jax.vmap(read)(jnp.array([True, False]))
    expected = jnp.stack([table[indices], table[indices + 1]])
    chex.assert_trees_all_equal(got, expected)


def test_runs_may_have_rows_or_tables_of_their_own():
    table = table_of(16)
    indices = some(30).reshape(3, 10)
    runs = jax.vmap(rows_of, (None, 0))
    chex.assert_trees_all_equal(jax.jit(runs)(table, indices), table[indices])
    deep = jax.vmap(runs, (None, 0))
    chex.assert_trees_all_equal(deep(table, indices[None]), table[indices][None])
    tables = jnp.stack([table, -table, 2 * table])
    same, own = jax.vmap(rows_of, (0, None)), jax.vmap(rows_of)
    expected = jnp.stack([t[indices[0]] for t in tables])
    chex.assert_trees_all_equal(same(tables, indices[0]), expected)
    expected = jnp.stack([t[i] for t, i in zip(tables, indices, strict=True)])
    chex.assert_trees_all_equal(own(tables, indices), expected)


@pytest.mark.parametrize("of", [jax.grad, jax.hessian, jax.jacfwd])
def test_the_gradient_of_the_table_is_that_of_plain_rows(of):
    table, indices = table_of(2, jnp.float32)[:40_000] / 1e4, some(5)
    # All but a few numbers of the table are held, so that its hessian is small.
    chosen = indices[:2]

    def loss(rows, part):
        return jnp.sum(rows(table.at[chosen].set(part), indices) ** 3)

    got, expected = (
        of(functools.partial(loss, rows))(table[chosen]) for rows in (rows_of, plain)
    )
    assert jnp.any(expected)
    chex.assert_trees_all_close(got, expected, rtol=1e-6)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only done on a CPU")
def test_no_threads_are_called_for_a_few_rows():
    table, indices = table_of(65), some(16)

    def text(rows):
        # As in a round: made of other numbers, and read by more of them.
        made = jax.jit(lambda table, i: rows(table, (i * 7) % N) * 2.0)
        return made.lower(table, indices).compile().as_text()

    shared = "outer_dimension_partitions"
    if shared not in text(plain):
        pytest.skip("XLA shares no loop here, as on a machine of one core")
    assert shared not in text(rows_of)


@pytest.fixture(scope="module")
def quadratic():
    """Of more numbers than a core has at hand."""
    return tele.tasks.least_squares(
        jax.random.key(0), num_nodes=N, dim=16, noise=1.0, scaled=False
    )


@struct.dataclass
class PlainRows(tele.tasks.Quadratic):
    """The same, a row by indexing."""

    def sample(self, key, node, count):
        del count
        row = self.rows[node]
        noise = self.noise / 4 * jax.random.normal(key, (16,))
        return row[0], row[1:], noise


def run_of(task, key=1):
    algorithm = tele.Teleportation(tele.graphs.ring(8), 1e-5)
    return tele.simulate(
        algorithm, task, jnp.ones(16), jax.random.key(key), num_rounds=30
    )


def test_rounds_are_those_of_plain_rows(quadratic):
    got = run_of(quadratic)
    expected = run_of(PlainRows(**vars(quadratic)))
    chex.assert_trees_all_equal(got.state.nodes, expected.state.nodes)
    chex.assert_trees_all_close(got.state, expected.state, rtol=1e-5)
    assert jnp.any(got.state.params != 1)


@pytest.mark.parametrize("number", [2, 3, 8])
def test_devices_share_the_slots(number, quadratic):
    with jax.set_mesh(tele.slot_mesh(number)):
        got = run_of(quadratic)
    chex.assert_trees_all_close(got, run_of(quadratic), rtol=1e-5)


def test_rounds_in_float64(quadratic):
    with jax.enable_x64(True):
        got = run_of(quadratic)
    chex.assert_trees_all_equal(got.state.nodes, run_of(quadratic).state.nodes)


def test_runs_of_a_sweep_are_single_runs(quadratic):
    keys = jnp.arange(3)
    sweep = jax.vmap(functools.partial(run_of, quadratic))(keys)
    for index in range(3):
        one = run_of(quadratic, index)
        chex.assert_trees_all_close(sweep[index], one, rtol=1e-5)


def test_somebody_may_share_rows_among_devices():
    """By a ``shard_map`` of their own."""
    table, indices = table_of(16), some(12)
    mesh = jax.make_mesh((2,), ("runs",), (AxisType.Auto,), devices=jax.devices()[:2])
    with jax.set_mesh(mesh):
        specs = {"in_specs": (P(), P("runs")), "out_specs": P("runs")}
        got = jax.jit(jax.shard_map(rows_of, **specs))(table, indices)
    chex.assert_trees_all_equal(got, table[indices])


def test_somebody_may_share_tables_among_devices():
    """By a ``shard_map`` of their own, with the same indices for all."""
    tables, indices = jnp.stack([table_of(16), -table_of(16)]), some(6)
    mesh = jax.make_mesh((2,), ("runs",), (AxisType.Auto,), devices=jax.devices()[:2])
    with jax.set_mesh(mesh):
        specs = {"in_specs": (P("runs"), P()), "out_specs": P("runs")}
        own = jax.shard_map(lambda t, i: rows_of(t[0], i)[None], **specs)
        got = jax.jit(own)(tables, indices)
    chex.assert_trees_all_equal(got, tables[:, indices])


def test_devices_that_share_a_sweep_have_nothing_to_tell_each_other(quadratic):
    mesh = jax.make_mesh((8,), ("runs",), (AxisType.Auto,))
    seeds = jax.device_put(jnp.arange(8), NamedSharding(mesh, P("runs")))
    sweep = jax.jit(jax.vmap(lambda seed: run_of(quadratic, seed).state.params))
    text = sweep.lower(seeds).compile().as_text()
    assert not re.findall(r"all-gather|all-reduce|collective-permute", text)
