"""Gossip against the einsum it stands for and the dense product, on every path."""

import chex
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import tele_jax as tele
from tele_jax.gossip import mix


def _padded():
    """Columns of very unequal length: most entries are padding."""
    return tele.graphs.star(9)


def _wide():
    """More senders than are written out, on many more slots: m = 17, k = 150."""
    return tele.graphs.from_networkx(nx.circulant_graph(150, range(1, 9)))


TOPOLOGIES = {
    "ring_1": (tele.graphs.ring(1), "gathers"),
    "ring_16": (tele.graphs.ring(16), "gathers"),
    "one_peer_11": (tele.graphs.one_peer_exponential(11), "gathers"),
    "exponential_25": (tele.graphs.exponential(25), "gathers"),
    "exponential_5": (tele.graphs.exponential(5), "dense"),
    "complete_16": (tele.graphs.complete(16), "dense"),
    "padded": (_padded(), "dense"),
    "wide": (_wide(), "loop"),
}
every_topology = pytest.mark.parametrize("name", TOPOLOGIES)
PATHS = ["exponential_25", "complete_16", "wide"]


def _slots(num_slots, dtype=jnp.float32):
    shapes = {"scalar": (), "vector": (3,), "tensor": (2, 3, 4)}
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
    both = jax.jit(lambda *args: (mix(*args), _einsum(*args)))
    for t in range(topology.period):
        mixing = topology.at(t)
        mixed, einsum = both(mixing, slots)
        chex.assert_trees_all_equal_shapes_and_dtypes(mixed, slots)
        exact = _exact(tele.to_matrices(topology)[t], slots)
        # Weights sum to 1: a few roundings of numbers below 5.
        chex.assert_trees_all_close(mixed, exact, rtol=0, atol=5 * 2**-22)
        chex.assert_trees_all_close(mixed, einsum, rtol=0, atol=5 * 2**-22)


@every_topology
def test_every_path_is_taken(name):
    topology, path = TOPOLOGIES[name]
    found = {
        name for name, _ in _primitives(topology.at(0), jnp.ones(topology.num_slots))
    }
    assert ("dot_general" in found) == (path == "dense")
    assert ("scan" in found) == (path == "loop")


def test_the_dense_product_is_of_the_highest_precision():
    slots = _slots(16)
    found = _primitives(tele.graphs.complete(16).at(0), slots)
    products = [eqn for name, eqn in found if name == "dot_general"]
    assert len(products) == len(slots)
    for product in products:
        assert set(product.params["precision"]) == {jax.lax.Precision.HIGHEST}
        assert product.params["preferred_element_type"] == jnp.float32


@pytest.mark.parametrize("name", PATHS)
def test_a_bfloat16_leaf_is_rounded_once(name):
    topology, _ = TOPOLOGIES[name]
    shape = (topology.num_slots, 40)
    numbers = jax.random.uniform(jax.random.key(1), shape, minval=2, maxval=3)
    slots = numbers.astype(jnp.bfloat16)  # in [2, 3], and so are averages
    mixed = jax.jit(mix)(topology.at(0), slots)
    assert mixed.dtype == jnp.bfloat16
    exact = _exact(tele.to_matrices(topology)[0], slots)
    # bfloat16 has 8 bits: between 2 and 4 half a unit is 2⁻⁷.
    error = np.abs(np.asarray(mixed, np.float64) - exact)
    assert error.max() <= 2**-7 * 1.001


@pytest.mark.parametrize("name", PATHS)
def test_leaves_of_different_dtypes_keep_theirs(name):
    topology, _ = TOPOLOGIES[name]
    num_slots = topology.num_slots
    slots = {"a": _slots(num_slots), "b": _slots(num_slots, jnp.bfloat16)}
    mixed = jax.eval_shape(mix, topology.at(0), slots)
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


@pytest.mark.parametrize("name", PATHS)
def test_vmap_over_weights_is_a_loop(name):
    topology, _ = TOPOLOGIES[name]
    mixing = topology.at(0)
    slots = _slots(topology.num_slots)
    scales = jnp.array([0.0, 0.5, 1.0])
    weights = scales[:, None, None] * mixing.weights[None]
    over_weights = jax.jit(jax.vmap(mix, in_axes=(tele.Mixing(None, 0), None)))
    swept = over_weights(tele.Mixing(mixing.senders, weights), slots)
    for i in range(3):
        alone = jax.jit(mix)(mixing._replace(weights=weights[i]), slots)
        one = jax.tree.map(lambda leaf, i=i: leaf[i], swept)
        chex.assert_trees_all_close(one, alone, rtol=0, atol=5 * 2**-22)


@pytest.mark.parametrize("name", PATHS)
def test_the_gradient_of_mix_gossips_backwards(name):
    topology, _ = TOPOLOGIES[name]
    slots = _slots(topology.num_slots)

    def forth_and_back(slots):
        mixed, pull_back = jax.vjp(lambda slots: mix(topology.at(0), slots), slots)
        return mixed, pull_back(mixed)[0]

    mixed, pulled = jax.jit(forth_and_back)(slots)
    backwards = _exact(tele.to_matrices(topology)[0].T, mixed)
    chex.assert_trees_all_close(pulled, backwards, rtol=0, atol=1e-5)
