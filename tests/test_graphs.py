"""The graphs against the authors' matrices, and against loops over their edges."""

import json
import math
from pathlib import Path

import jax
import networkx as nx
import numpy as np
import pytest

import tele_jax as tele
from tests import helpers

DATA = Path(__file__).parent / "oracles_data"
BIG = 100_000


@pytest.mark.parametrize(
    "path", sorted(DATA.glob("*.json")), ids=lambda path: path.stem
)
def test_agrees_with_the_authors_matrices(path):
    oracle = json.loads(path.read_text())
    topology = getattr(tele.graphs, oracle["topology"])(oracle["n"])
    expected = np.array(oracle["mixing_matrices"])
    assert topology.period == oracle["rounds"] == len(expected)
    np.testing.assert_allclose(tele.to_matrices(topology), expected, atol=1e-7)


def test_the_authors_matrices_are_all_there():
    sizes = {"ring": range(3, 13)}
    for name in ("ring", "exponential", "one_peer_exponential"):
        expected = {f"{name}_{size}.json" for size in sizes.get(name, range(2, 13))}
        assert {path.name for path in DATA.glob(f"{name}_*.json")} == expected


@pytest.mark.parametrize("graph", helpers.GRAPHS)
def test_every_graph_is_doubly_stochastic_at_every_size(graph):
    for size in range(1, 18):
        topology = helpers.GRAPHS[graph](size)
        matrices = tele.to_matrices(topology)
        again = tele.from_matrices(matrices, stochastic="doubly")
        np.testing.assert_array_equal(tele.to_matrices(again), matrices)
        if graph != "hypercube":
            assert topology.num_slots == size


@pytest.mark.parametrize(
    "graph", ["ring", "chain", "star", "complete", "torus", "hypercube", "random_tree"]
)
def test_undirected_graphs_are_symmetric(graph):
    for size in range(1, 18):
        matrices = tele.to_matrices(helpers.GRAPHS[graph](size))
        np.testing.assert_array_equal(matrices, matrices.transpose(0, 2, 1))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 16])
def test_ring_and_complete_entry_by_entry(size):
    ring = np.zeros((size, size))
    for i in range(size):
        partners = {i, (i + 1) % size, (i - 1) % size}
        for j in partners:
            ring[j, i] = 1 / len(partners)
    (got,) = tele.to_matrices(tele.graphs.ring(size))
    np.testing.assert_allclose(got, ring, atol=1e-7)
    (got,) = tele.to_matrices(tele.graphs.complete(size))
    np.testing.assert_allclose(got, np.full((size, size), 1 / size), atol=1e-7)


@pytest.mark.parametrize("sides", [(1, 1), (1, 5), (5, 1), (2, 2), (2, 5), (3, 3)])
def test_torus_entry_by_entry(sides):
    rows, columns = sides
    expected = np.zeros((rows * columns, rows * columns))
    for i in range(rows):
        for j in range(columns):
            partners = {(i, j), ((i + 1) % rows, j), ((i - 1) % rows, j)}
            partners |= {(i, (j + 1) % columns), (i, (j - 1) % columns)}
            for row, column in partners:
                sender = row * columns + column
                expected[sender, i * columns + j] = 1 / len(partners)
    topology = tele.graphs.torus(rows, columns)
    np.testing.assert_allclose(tele.to_matrices(topology)[0], expected, atol=1e-7)


@pytest.mark.parametrize("dimension", range(5))
def test_hypercube_entry_by_entry(dimension):
    size = 2**dimension
    expected = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            if (i ^ j).bit_count() <= 1:
                expected[j, i] = 1 / (dimension + 1)
    (got,) = tele.to_matrices(tele.graphs.hypercube(size))
    np.testing.assert_allclose(got, expected, atol=1e-7)


def _metropolis_hastings(graph):
    nodes = list(graph)
    degree = {u: len(set(graph[u]) - {u}) for u in nodes}
    matrix = np.zeros((len(nodes), len(nodes)))
    for i, u in enumerate(nodes):
        for j, v in enumerate(nodes):
            if u != v and graph.has_edge(u, v):
                matrix[i, j] = 1 / (1 + max(degree[u], degree[v]))
        matrix[i, i] = 1 - matrix[i].sum()
    return matrix


@pytest.mark.parametrize("seed", range(6))
def test_metropolis_hastings_is_the_double_loop(seed):
    graph = nx.gnp_random_graph(4 + 2 * seed, 0.3, seed=seed)
    graph.add_edge(0, 0)  # a node's edge to itself is ignored
    graph.add_edge(0, 1, weight=17.0)  # and so are attributes
    order = np.random.default_rng(seed).permutation(len(graph)).tolist()
    named = nx.Graph()
    named.add_nodes_from(f"node {i}" for i in order)
    named.add_edges_from((f"node {u}", f"node {v}") for u, v in graph.edges)
    for given in (graph, named):
        (got,) = tele.to_matrices(tele.graphs.from_networkx(given))
        np.testing.assert_allclose(got, _metropolis_hastings(given), atol=1e-6)


def test_an_unconnected_graph_has_contraction_zero():
    graph = nx.disjoint_union(nx.complete_graph(3), nx.complete_graph(4))
    contraction = tele.contraction(tele.graphs.from_networkx(graph))
    np.testing.assert_allclose(contraction, 0.0, atol=1e-6)


def test_one_peer_exponential_averages_exactly_at_powers_of_two_only():
    for size in range(1, 34):
        topology = tele.graphs.one_peer_exponential(size)
        assert topology.period == max(1, math.ceil(math.log2(size)))
        contraction = tele.contraction(topology)
        power_of_two = size.bit_count() == 1
        assert (abs(contraction - 1) < 1e-6) == power_of_two, size


def _num_entries(topology):
    return sum(leaf.size for leaf in jax.tree.leaves(topology))


def test_big_graphs_hold_no_matrix_of_all_pairs():
    ring = tele.graphs.ring(BIG)
    assert _num_entries(ring) == 2 * 3 * BIG
    one_peer = tele.graphs.one_peer_exponential(BIG)
    assert one_peer.period == 17  # 2¹⁷ > 10⁵ > 2¹⁶
    assert _num_entries(one_peer) == 2 * 17 * 2 * BIG
    assert ring.at(0).senders[:, -1].tolist() == [BIG - 1, 0, BIG - 2]
    assert set(one_peer.at(16).senders[:, 0].tolist()) == {0, BIG - 2**16}


@pytest.mark.parametrize(
    ("topology", "num_senders"),
    [
        (tele.graphs.ring(1000), 3),
        (tele.graphs.chain(1000), 3),
        (tele.graphs.torus(30, 30), 5),
        (tele.graphs.hypercube(1024), 11),
        (tele.graphs.exponential(1000), 11),
        (tele.graphs.one_peer_exponential(1000), 2),
        (tele.graphs.from_networkx(nx.petersen_graph()), 4),
    ],
)
def test_sparse_graphs_have_few_senders(topology, num_senders):
    assert topology.at(0).senders.shape == (num_senders, topology.num_slots)


@pytest.mark.parametrize("size", [0, -3])
@pytest.mark.parametrize(
    "graph", sorted(set(helpers.GRAPHS) - {"torus", "random_tree"})
)
def test_no_slots_are_refused(graph, size):
    with pytest.raises(ValueError, match=f"{graph}: needs at least 1 slot, got {size}"):
        getattr(tele.graphs, graph)(size)


@pytest.mark.parametrize("sides", [(0, 3), (3, 0)])
def test_a_torus_without_a_side_is_refused(sides):
    with pytest.raises(
        ValueError, match=r"torus: needs at least 1 (row|column), got 0"
    ):
        tele.graphs.torus(*sides)


@pytest.mark.parametrize(("size", "try_"), [(3, "2 or 4"), (12, "8 or 16")])
def test_hypercube_suggests_the_powers_of_two_around(size, try_):
    with pytest.raises(ValueError, match=f"hypercube: got {size} slots.*try {try_}"):
        tele.graphs.hypercube(size)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (nx.DiGraph([(0, 1)]), "got a DiGraph, expected an undirected"),
        (nx.MultiGraph([(0, 1)]), "got a MultiGraph, expected an undirected"),
        (nx.Graph(), "needs at least 1 slot, got 0"),
    ],
)
def test_from_networkx_refuses(graph, message):
    with pytest.raises(ValueError, match=f"from_networkx: {message}"):
        tele.graphs.from_networkx(graph)
