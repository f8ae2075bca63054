"""Weights of a graph by its edges, against their definitions."""

import contextlib

import networkx as nx
import numpy as np
import pytest

import tele_jax as tele
from tele_jax.graphs import _edges as edge_tables

GRAPHS = {
    "path": nx.path_graph(7),
    "star": nx.star_graph(6),
    "cycle": nx.cycle_graph(8),
    "petersen": nx.petersen_graph(),
    "barbell": nx.barbell_graph(5, 2),
    "random": nx.connected_watts_strogatz_graph(15, 4, 0.4, seed=0),
    "complete": nx.complete_graph(5),
    "pair": nx.path_graph(2),
}
every_graph = pytest.mark.parametrize("name", GRAPHS)


def _laplacian(graph):
    matrix = np.zeros((len(graph), len(graph)))
    for u, v in graph.edges:
        matrix[u, u] += 1
        matrix[v, v] += 1
        matrix[u, v] -= 1
        matrix[v, u] -= 1
    return matrix


def _weights(graph, weights):
    return tele.to_matrices(tele.graphs.from_networkx(graph, weights))[0]


def _with(alpha, laplacian):
    return np.eye(len(laplacian)) - alpha * laplacian


# A weight below 1 is rounded to float32 once, after some roundings in float64.
ROUNDING = 1.01 * 2**-25


@every_graph
def test_max_degree_and_laplacian_weights(name):
    laplacian = _laplacian(GRAPHS[name])
    largest = np.diag(laplacian).max()
    for weights, alpha in (("max_degree", largest), ("laplacian", largest + 1)):
        np.testing.assert_allclose(
            _weights(GRAPHS[name], weights),
            _with(1 / alpha, laplacian),
            rtol=0,
            atol=ROUNDING,
        )


@every_graph
def test_best_constant_weights_are_the_best_on_a_fine_grid(name):
    laplacian = _laplacian(GRAPHS[name])
    size, largest = len(laplacian), np.diag(laplacian).max()
    matrix = _weights(GRAPHS[name], "best_constant")

    def norm(matrix):
        return np.linalg.norm(matrix - 1 / size, ord=2)

    grid = np.linspace(0, 1 / largest, 2001)
    best = min(norm(_with(alpha, laplacian)) for alpha in grid)
    # Between two points of the grid the norm, which is Lipschitz with λ_k, is less
    # than half a step below the best of both; float32 weights are off by 2⁻²⁴.
    step, steepest = grid[1], np.linalg.eigvalsh(laplacian)[-1]
    assert best - step / 2 * steepest - 2**-24 <= norm(matrix) <= best + 2**-24


@every_graph
def test_best_constant_weights_are_the_closed_form_where_none_is_negative(name):
    laplacian = _laplacian(GRAPHS[name])
    values = np.linalg.eigvalsh(laplacian)
    closed, most = 2 / (values[1] + values[-1]), 1 / np.diag(laplacian).max()
    matrix = _weights(GRAPHS[name], "best_constant")
    np.testing.assert_allclose(
        matrix, _with(min(closed, most), laplacian), rtol=0, atol=ROUNDING
    )
    assert matrix.min() >= 0


def test_the_two_kinds_of_best_constant_are_among_the_graphs():
    bounded = []
    for graph in GRAPHS.values():
        values = np.linalg.eigvalsh(_laplacian(graph))
        most = 1 / np.diag(_laplacian(graph)).max()
        bounded.append(2 / (values[1] + values[-1]) > most)
    assert {*bounded} == {True, False}


# λ₂ + λ_k in closed form: 2 + 2d of the hypercube, 3k/2 of two halves all linked; of
# long chains it is below 4 = 2 d_max, so that no weight may be as large as it asks for.
@pytest.mark.parametrize(
    ("graph", "alpha"),
    [
        (nx.hypercube_graph(12), 2 / 26),
        (nx.complete_bipartite_graph(1030, 1030), 2 / 3090),
        (nx.path_graph(3000), 1 / 2),
    ],
    ids=["hypercube", "bipartite", "chain"],
)
def test_best_constant_weights_of_many_slots_are_the_closed_form(graph, alpha):
    topology = tele.graphs.from_networkx(graph, "best_constant")
    weights = np.asarray(topology.at(0).weights)
    between = weights[1:][weights[1:] > 0]
    np.testing.assert_allclose(between, alpha, rtol=1e-3)
    np.testing.assert_allclose(weights.sum(axis=0, dtype=float), 1, rtol=0, atol=1e-6)
    assert len(between) == 2 * graph.number_of_edges()


@pytest.mark.parametrize("size", [1, 5, 2049])
def test_best_constant_weights_without_an_edge_are_the_identity(size):
    topology = tele.graphs.from_networkx(
        nx.empty_graph(size), "best_constant", allow_disconnected=True
    )
    np.testing.assert_array_equal(topology.at(0).weights, np.ones((1, size)))


@every_graph
@pytest.mark.parametrize("weights", ["metropolis_hastings", "max_degree", "laplacian"])
def test_weights_do_not_depend_on_how_the_nodes_are_ordered(name, weights):
    graph = GRAPHS[name]
    order = np.random.default_rng(0).permutation(len(graph))
    shuffled = nx.Graph()
    shuffled.add_nodes_from(order.tolist())
    shuffled.add_edges_from((v, u) for u, v in graph.edges)  # ends exchanged, too
    expected = _weights(graph, weights)[np.ix_(order, order)]
    np.testing.assert_allclose(
        _weights(shuffled, weights), expected, rtol=0, atol=ROUNDING
    )


@every_graph
def test_a_table_holds_one_sender_per_edge_and_the_slot(name):
    graph = GRAPHS[name]
    topology = tele.graphs.from_networkx(graph)
    longest = max(degree for _, degree in graph.degree)
    assert topology.senders.shape == (1, 1 + longest, len(graph))
    for i in graph:
        heard = topology.senders[0, :, i].tolist()
        own = 1 + longest - graph.degree[i]  # itself, and the padding
        assert heard.count(i) == own
        assert {*heard} == {i, *graph[i]}


@pytest.mark.parametrize("directed", [True, False])
def test_connected_is_what_networkx_calls_it(directed):
    """Strongly, if the graph is directed."""
    told = []
    for seed in range(40):
        graph = nx.gnp_random_graph(6, 0.35, seed=seed, directed=directed)
        start, end = np.array(graph.edges, np.int64).reshape(-1, 2).T
        edges = edge_tables.Edges(6, start, end)
        refused = contextlib.nullcontext()
        told.append((nx.is_strongly_connected if directed else nx.is_connected)(graph))
        if not told[-1]:
            message = r"^it: the graph falls into .*; join\.$"
            refused = pytest.raises(ValueError, match=message)
        with refused:
            edge_tables.check_connected("it", edges, "join", None, directed)
    assert {*told} == {True, False}
