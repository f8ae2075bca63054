"""Graphs by their edges, against networkx and loops over pairs of nodes."""

import networkx as nx
import numpy as np
import pytest

import tele_jax as tele


def metropolis_hastings(graph):
    """Node by node and pair by pair; loops do not count."""
    nodes = list(graph)
    degree = {u: len(set(graph[u]) - {u}) for u in nodes}
    matrix = np.zeros((len(nodes), len(nodes)))
    for i, u in enumerate(nodes):
        for j, v in enumerate(nodes):
            if u != v and graph.has_edge(u, v):
                matrix[i, j] = 1 / (1 + max(degree[u], degree[v]))
        matrix[i, i] = 1 - matrix[i].sum()
    return matrix


def assert_is(topology, expected):
    # A float32 weight below 1 is off by 2⁻²⁵, and is rounded in float64 before.
    assert topology.period == 1
    np.testing.assert_allclose(
        tele.to_matrices(topology)[0], expected, rtol=0, atol=1.01 * 2**-25
    )


@pytest.mark.parametrize(
    ("build", "reference"),
    [
        (tele.graphs.chain, nx.path_graph),
        (tele.graphs.star, lambda k: nx.star_graph(k - 1)),
        (
            tele.graphs.barbell,
            lambda k: nx.barbell_graph(k // 2, 0) if k % 2 == 0 and k > 2 else None,
        ),
    ],
    ids=["chain", "star", "barbell"],
)
def test_classics_are_those_of_networkx(build, reference):
    compared = 0
    for size in range(1, 26):
        if (graph := reference(size)) is not None:
            assert_is(build(size), metropolis_hastings(graph))
            compared += 1
    assert compared >= 11


def test_an_odd_barbell_has_the_larger_clique_first():
    for size in (1, 2, 3, 5, 9, 25):
        half = -(-size // 2)
        graph = nx.empty_graph(size)
        for clique in (range(half), range(half, size)):
            graph.add_edges_from((i, j) for i in clique for j in clique if i < j)
        if size > 1:
            graph.add_edge(half - 1, half)
        assert_is(tele.graphs.barbell(size), metropolis_hastings(graph))


def test_barbell_contracts_as_the_inverse_square():
    """From 16 slots on, k² p stays within a factor of 4 while p falls by 64."""
    sizes = (16, 32, 64, 128)
    scaled = [k**2 * tele.contraction(tele.graphs.barbell(k)) for k in sizes]
    assert max(scaled) < 4 * min(scaled)


@pytest.mark.parametrize("cliques", [2, 3, 4, 7])
@pytest.mark.parametrize("size", [3, 4, 6])
def test_caveman_is_that_of_networkx(cliques, size):
    graph = nx.connected_caveman_graph(cliques, size)
    ordered = nx.Graph()
    ordered.add_nodes_from(range(cliques * size))
    ordered.add_edges_from(graph.edges)
    assert_is(tele.graphs.caveman(cliques, size), metropolis_hastings(ordered))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_single_cave_is_a_clique(size):
    assert_is(tele.graphs.caveman(1, size), np.full((size, size), 1 / size))


@pytest.mark.parametrize("seed", range(6))
def test_metropolis_hastings_is_the_double_loop(seed):
    graph = nx.gnp_random_graph(4 + 2 * seed, 0.3, seed=seed)
    nx.add_path(graph, range(len(graph)))
    graph.add_edge(0, 0)  # a node's edge to itself is ignored
    graph.add_edge(0, 1, weight=17.0)  # and so are attributes
    order = np.random.default_rng(seed).permutation(len(graph)).tolist()
    named = nx.Graph()
    named.add_nodes_from(f"node {i}" for i in order)
    named.add_edges_from((f"node {u}", f"node {v}") for u, v in graph.edges)
    for given in (graph, named):
        assert_is(tele.graphs.from_networkx(given), metropolis_hastings(given))


def test_a_disconnected_graph_is_refused_by_its_components():
    graph = nx.Graph([("a", "b"), ("c", "d"), ("d", "e")])
    with pytest.raises(
        ValueError,
        match=r"^from_networkx: the graph falls into 2 components, \{a, b\}, "
        r"\{c, d, e\}; join them, or pass allow_disconnected=True\.$",
    ):
        tele.graphs.from_networkx(graph)


def test_many_and_large_components_are_named_in_short():
    graph = nx.disjoint_union_all([nx.path_graph(6), *(nx.path_graph(2),) * 3])
    with pytest.raises(
        ValueError,
        match=r"falls into 4 components, \{0, 1, 2, 3, 4, …\}, \{6, 7\}, \{8, 9\}, …;",
    ):
        tele.graphs.from_networkx(graph)


def test_a_disconnected_graph_is_taken_when_asked_for():
    graph = nx.disjoint_union(nx.complete_graph(3), nx.complete_graph(4))
    topology = tele.graphs.from_networkx(graph, allow_disconnected=True)
    assert_is(topology, metropolis_hastings(graph))
    # ‖W − J‖₂ = 1 for a matrix off by 2⁻²⁴ of itself.
    np.testing.assert_allclose(tele.contraction(topology), 0.0, rtol=0, atol=3 * 2**-24)


def _strongly_connected(seed):
    graph = nx.gnp_random_graph(7, 0.3, seed=seed, directed=True)
    nx.add_cycle(graph, range(7))
    graph.add_edge(3, 3)
    return graph


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("directed", [True, False])
def test_column_and_row_weights_are_the_double_loop(seed, directed):
    graph = _strongly_connected(seed)
    graph = graph if directed else graph.to_undirected()
    column, row = np.eye(7), np.eye(7)
    for u in range(7):
        for v in range(7):
            if u != v and graph.has_edge(u, v):  # u sends to v
                column[u, v] = row[u, v] = 1
    for i in range(7):
        column[:, i] /= column[:, i].sum()
        row[i] /= row[i].sum()
    assert_is(tele.graphs.from_networkx(graph, stochastic="column"), column)
    assert_is(tele.graphs.from_networkx(graph, stochastic="row"), row)


def test_a_digraph_that_is_not_strongly_connected_is_refused():
    graph = nx.DiGraph([(0, 1), (1, 2), (2, 1)])
    for stochastic in ("column", "row"):
        with pytest.raises(
            ValueError,
            match=r"from_networkx: the graph falls into 2 strongly connected "
            r"components, .*\{0\}.*; join them",
        ):
            tele.graphs.from_networkx(graph, stochastic=stochastic)
    topology = tele.graphs.from_networkx(
        graph, stochastic="column", allow_disconnected=True
    )
    expected = np.array([[1, 1 / 3, 0], [0, 1 / 3, 1 / 2], [0, 1 / 3, 1 / 2]])
    assert_is(topology, expected)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            nx.DiGraph([(0, 1)]),
            r"got a DiGraph and stochastic='doubly'; pass stochastic=\"column\" to "
            r"average what is received, \"row\" to split what is sent",
        ),
        (nx.MultiGraph([(0, 1)]), "got a MultiGraph, expected an nx.Graph or"),
        (nx.MultiDiGraph([(0, 1)]), "got a MultiDiGraph, expected an nx.Graph or"),
        (nx.Graph(), "needs at least 1 slot, got 0"),
        ([(0, 1)], "got a list, expected an nx.Graph or nx.DiGraph"),
    ],
)
def test_from_networkx_refuses(graph, message):
    with pytest.raises(ValueError, match=f"^from_networkx: {message}"):
        tele.graphs.from_networkx(graph)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weights": "equal"}, "got weights='equal', expected one of"),
        ({"stochastic": "both"}, "got stochastic='both', expected one of"),
        (
            {"weights": "laplacian", "stochastic": "row"},
            "got weights='laplacian' with stochastic='row', expected",
        ),
    ],
)
def test_from_networkx_refuses_words_that_mean_nothing(given, message):
    with pytest.raises(ValueError, match=f"^from_networkx: {message}"):
        tele.graphs.from_networkx(nx.path_graph(3), **given)


@pytest.mark.parametrize(
    ("cliques", "size", "message"),
    [
        (0, 3, "needs at least 1 clique, got 0"),
        (3, 0, "needs at least 1 slot of a clique, got 0"),
        (3, 1.5, r"got 1\.5, expected a whole number >= 1 of slots of a clique\.$"),
        (3, 2, r"falls into 3 components, \{0, 5\}, \{1, 2\}, \{3, 4\}; choose other"),
        (3, 1, r"falls into 3 components, \{0\}, \{1\}, \{2\}; choose other sizes"),
    ],
)
def test_caves_that_cannot_be_are_refused(cliques, size, message):
    with pytest.raises(ValueError, match=f"^caveman: .*{message}"):
        tele.graphs.caveman(cliques, size)
