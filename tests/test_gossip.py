"""Gossip against the einsum it stands for and the dense product, on every path."""

import chex
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import tele_jax as tele
from tele_jax import _in_place
from tele_jax.gossip import mean_drift, mix
from tele_jax.mixing import Repeated
from tests import helpers


def _padded():
    """Columns of very unequal length: most entries are padding."""
    return tele.graphs.star(9)


def _wide():
    """More senders than are written out, on many more slots: m = 17, k = 150."""
    return tele.graphs.from_networkx(nx.circulant_graph(150, range(1, 9)))


def _full():
    """A table as full as can be."""
    return tele.from_matrices(np.full((16, 16), 1 / 16))


TOPOLOGIES = {
    "ring_1": (tele.graphs.ring(1), "gathers"),
    "ring_16": (tele.graphs.ring(16), "gathers"),
    "one_peer_11": (tele.graphs.one_peer_exponential(11), "gathers"),
    "exponential_25": (tele.graphs.exponential(25), "gathers"),
    "exponential_5": (tele.graphs.exponential(5), "dense"),
    "full_16": (_full(), "dense"),
    "padded": (_padded(), "dense"),
    "wide": (_wide(), "loop"),
    "push": (tele.graphs.el_local(9, 3, jax.random.key(5)), "segments"),
    "rank_one": (tele.graphs.lazy(tele.graphs.complete(9)), "common sum"),
    "repeated": (tele.graphs.repeat(tele.graphs.base_graph(6, 1), 2), "rounds"),
}
every_topology = pytest.mark.parametrize("name", TOPOLOGIES)
PATHS = ["exponential_25", "full_16", "wide", "push", "rank_one", "repeated"]
every_path = pytest.mark.parametrize("name", PATHS)


@pytest.fixture(autouse=True)
def _long_is_in_pieces(monkeypatch):
    monkeypatch.setattr(_in_place, "_BYTES", 1)  # of 256 columns, then


def _slots(num_slots, dtype=jnp.float32):
    shapes = {"scalar": (), "vector": (3,), "tensor": (2, 3, 4), "long": (3, 230)}
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return {
        name: jax.random.normal(key, (num_slots, *shape)).astype(dtype)
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def _exact(matrix, slots):
    """X W in float64, the models as columns of X."""

    def leaf(x):
        columns = np.asarray(x, np.float64).reshape(len(x), -1).T
        return (columns @ matrix).T.reshape(x.shape)

    return jax.tree.map(leaf, slots)


def _einsum(mixing, slots):
    def leaf(x):
        return jnp.einsum(
            "mk,mk...->k...",
            mixing.weights,
            x[mixing.senders],
            precision=jax.lax.Precision.HIGHEST,
        )

    return jax.tree.map(leaf, slots)


def _equations(jaxpr):
    """All equations of a program, inner programs included."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from _equations(inner)


def _primitives(mixing, slots):
    jaxpr = jax.make_jaxpr(mix)(mixing, slots).jaxpr
    return [(eqn.primitive.name, eqn) for eqn in _equations(jaxpr)]


@every_topology
def test_mix_is_the_dense_product_and_the_einsum(name):
    topology, _ = TOPOLOGIES[name]
    slots = _slots(topology.num_slots)
    matrices = helpers.matrices(topology, topology.period or 2)
    einsum_too = isinstance(topology, tele.Periodic)
    both = jax.jit(
        lambda *args: (mix(*args), _einsum(*args) if einsum_too else mix(*args))
    )
    for t, matrix in enumerate(matrices):
        mixed, einsum = both(helpers.at(topology, t), slots)
        chex.assert_trees_all_equal_shapes_and_dtypes(mixed, slots)
        exact = _exact(matrix, slots)
        # Weights sum to 1: a few roundings of numbers below 5.
        chex.assert_trees_all_close(mixed, exact, rtol=0, atol=5 * 2**-22)
        chex.assert_trees_all_close(mixed, einsum, rtol=0, atol=5 * 2**-22)


@every_topology
def test_every_path_is_taken(name):
    topology, path = TOPOLOGIES[name]
    mixing = helpers.at(topology, 0)
    found = {name for name, _ in _primitives(mixing, jnp.ones(topology.num_slots))}
    assert ("dot_general" in found) == (path in ("dense", "common sum"))
    assert ("scatter-add" in found) == (path in ("dense", "segments"))
    assert ("scan" in found) == (path in ("loop", "segments", "rounds"))


def test_the_matrices_of_many_rounds_are_made_once():
    full = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), _full().at(0))
    found = [name for name, _ in _primitives(Repeated(full), _slots(16))]
    assert found.count("scatter-add") == 1
    assert found.count("dot_general") == 5  # of one leaf on a CPU and elsewhere


def test_the_dense_product_is_of_the_highest_precision():
    slots = _slots(16)
    found = _primitives(_full().at(0), slots)
    products = [eqn for name, eqn in found if name == "dot_general"]
    assert len(products) == len(slots) + 1  # the long one in pieces, or in one
    for product in products:
        assert set(product.params["precision"]) == {jax.lax.Precision.HIGHEST}
        assert product.params["preferred_element_type"] == jnp.float32


@every_path
def test_a_bfloat16_leaf_is_rounded_once(name):
    """In every round of gossip, of which one topology has two in a step."""
    topology, _ = TOPOLOGIES[name]
    shape = (topology.num_slots, 40)
    numbers = jax.random.uniform(jax.random.key(1), shape, minval=2, maxval=3)
    slots = numbers.astype(jnp.bfloat16)  # in [2, 3], and so are averages
    mixed = jax.jit(mix)(helpers.at(topology, 0), slots)
    assert mixed.dtype == jnp.bfloat16
    exact = _exact(helpers.matrices(topology, 1)[0], slots)
    # bfloat16 has 8 bits: between 2 and 4 half a unit is 2⁻⁷.
    error = np.abs(np.asarray(mixed, np.float64) - exact)
    assert error.max() <= 2**-7 * 1.001 * (2 if name == "repeated" else 1)


@every_path
def test_leaves_of_different_dtypes_keep_theirs(name):
    topology, _ = TOPOLOGIES[name]
    num_slots = topology.num_slots
    slots = {"a": _slots(num_slots), "b": _slots(num_slots, jnp.bfloat16)}
    mixed = jax.eval_shape(lambda slots: mix(topology.at(0), slots), slots)
    chex.assert_trees_all_equal_shapes_and_dtypes(mixed, slots)


def test_a_thousand_rounds_keep_the_mean():
    mixing = tele.graphs.ring(16).at(0)
    start = 5 + jax.random.normal(jax.random.key(2), (16, 8))

    def rounds(start):
        return jax.lax.fori_loop(0, 1000, lambda _, x: mix(mixing, x), start)

    end = np.asarray(jax.jit(rounds)(start), np.float64)
    mean = np.asarray(start, np.float64).mean(axis=0)
    np.testing.assert_allclose(end.mean(axis=0), mean, rtol=1e-5)
    # (1 − p)^500 of the disagreement is left, 1e-23: only roundings are.
    np.testing.assert_allclose(end, np.broadcast_to(mean, end.shape), rtol=1e-5)


def _is_a_number(leaf):
    return jnp.issubdtype(leaf.dtype, jnp.floating)


@every_path
def test_vmap_over_weights_is_a_loop(name):
    topology, _ = TOPOLOGIES[name]
    mixing = helpers.at(topology, 0)
    slots = _slots(topology.num_slots)
    scales = np.array([0.0, 0.5, 1.0], np.float32)

    def scaled(scale):
        return jax.tree.map(
            lambda leaf: scale * leaf if _is_a_number(leaf) else leaf, mixing
        )

    over_weights = jax.jit(jax.vmap(lambda scale: mix(scaled(scale), slots)))
    swept, mixed = over_weights(scales), jax.jit(mix)
    for i, scale in enumerate(scales):
        alone = mixed(scaled(scale), slots)
        one = helpers.part(swept, i)
        chex.assert_trees_all_close(one, alone, rtol=0, atol=5 * 2**-22)
    assert np.abs(swept["scalar"][1]).max() > 0.01


@every_path
def test_the_gradient_of_mix_gossips_backwards(name):
    topology, _ = TOPOLOGIES[name]
    slots = _slots(topology.num_slots)

    def forth_and_back(mixing, slots):
        mixed, pull_back = jax.vjp(lambda slots: mix(mixing, slots), slots)
        return mixed, pull_back(mixed)[0]

    mixed, pulled = jax.jit(forth_and_back)(helpers.at(topology, 0), slots)
    backwards = _exact(helpers.matrices(topology, 1)[0].T, mixed)
    # Columns sum to 1, but rows to at most 2 here, so that numbers stay below 10.
    chex.assert_trees_all_close(pulled, backwards, rtol=0, atol=1e-5)


def test_the_drift_of_the_mean_is_that_of_numpy():
    topology, _ = TOPOLOGIES["push"]
    mixing, slots = helpers.at(topology, 3), _slots(9)
    mixed = _exact(helpers.matrices(topology, 4)[3], slots)
    drift = jax.jit(mean_drift)(mixing, slots)
    moved = jax.tree.map(
        lambda after, before: (after - np.float64(before)).mean(axis=0), mixed, slots
    )
    chex.assert_trees_all_close(drift, moved, rtol=0, atol=5 * 2**-22)
    assert np.abs(moved["vector"]).max() > 0.01
    kept = jax.jit(mean_drift)(tele.graphs.ring(9).at(0), slots)
    zero = jax.tree.map(np.zeros_like, kept)
    chex.assert_trees_all_close(kept, zero, rtol=0, atol=5 * 2**-22)


def test_the_drift_of_the_mean_of_small_numbers_is_not_lost_to_bfloat16():
    """The mean moves by less than a unit of bfloat16, but not by rounding."""
    shift = tele.from_matrices(np.array([[1.0, 0.5], [0, 0.5]]), stochastic="column")
    slots = jnp.array([[2.0], [2.0625]], jnp.bfloat16)
    drift = mean_drift(shift.at(0), slots)
    assert drift.dtype == jnp.float32
    # Slot 1 goes to 2.03125, a bfloat16 number: a mean moved by −2⁻⁶.
    np.testing.assert_array_equal(drift, [-(2**-6)])
