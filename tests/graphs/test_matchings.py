"""MATCHA: matchings, their probabilities and weight, against what they are to be."""

import jax
import networkx as nx
import numpy as np
import pytest
from scipy.optimize import minimize

import tele_jax as tele
from tests import helpers
from tests.graphs import sampling

KEY = jax.random.key(2)
GRAPHS = {
    "pair": nx.path_graph(2),
    "path": nx.path_graph(5),
    "star": nx.star_graph(4),
    "odd_cycle": nx.cycle_graph(7),
    "barbell": nx.barbell_graph(4, 0),
    "complete": nx.complete_graph(5),
    "geometric": nx.connected_watts_strogatz_graph(12, 4, 0.5, seed=1),
}
every_graph = pytest.mark.parametrize("name", GRAPHS)


def _laplacians(topology):
    size = topology.num_slots
    stacked = []
    for partners in np.asarray(topology.partners):
        laplacian = np.zeros((size, size))
        for i, j in enumerate(partners):
            if i != j:
                laplacian[i, i] += 1
                laplacian[i, j] -= 1
        stacked.append(laplacian)
    return np.array(stacked)


@every_graph
def test_the_matchings_are_the_edges_taken_apart(name):
    graph = GRAPHS[name]
    topology = tele.graphs.matcha(graph, 0.5, KEY)
    partners = np.asarray(topology.partners)
    own = np.arange(len(graph))
    for row in partners:
        np.testing.assert_array_equal(row[row], own)  # partners of each other
    linked = [(i, j) for row in partners.tolist() for i, j in enumerate(row) if i < j]
    assert sorted(linked) == sorted(map(tuple, map(sorted, graph.edges)))
    largest = max(degree for _, degree in graph.degree)
    assert largest <= len(partners) <= max(1, 2 * largest - 1)


@every_graph
@pytest.mark.parametrize("budget", [0.3, 1.0])
def test_the_probabilities_maximise_connectivity_within_the_budget(name, budget):
    """λ₂ is concave: no better point is found by a search that knows no cuts."""
    topology = tele.graphs.matcha(GRAPHS[name], budget, KEY)
    laplacians = _laplacians(topology)
    count = len(laplacians)
    got = np.asarray(topology.probabilities, np.float64)
    assert got.min() >= 0
    assert got.max() <= 1
    # Float32 rounds each by 2⁻²⁴ at most.
    assert got.sum() <= budget * count + count * 2**-24

    def second(p):
        return np.linalg.eigvalsh(np.tensordot(p, laplacians, 1))[1]

    even = np.full(count, budget)
    found = minimize(
        lambda p: -second(p),
        even,
        method="COBYLA",
        constraints=[
            {"type": "ineq", "fun": lambda p: budget * count - p.sum()},
            {"type": "ineq", "fun": lambda p: p},
            {"type": "ineq", "fun": lambda p: 1 - p},
        ],
        tol=1e-6,
    )
    inside = np.clip(found.x, 0, 1)
    inside *= min(1, budget * count / max(inside.sum(), 1e-9))
    # Promised to 0.1 %, and rounded to float32.
    best = max(second(even), second(inside))
    assert second(got) >= (1 - 1e-3) * best - 1e-6
    assert second(got) >= second(even) - 1e-6  # never worse than no choice at all


@every_graph
def test_alpha_is_the_best_of_a_grid_that_leaves_no_weight_negative(name):
    topology = tele.graphs.matcha(GRAPHS[name], 0.5, KEY)
    laplacians = _laplacians(topology)
    size = len(laplacians[0])
    probabilities = np.asarray(topology.probabilities, np.float64)
    largest = max(degree for _, degree in GRAPHS[name].degree)
    assert 0 < float(topology.alpha) <= (1 + 1e-6) / largest

    def norm(alpha):
        """‖E[W²] − J‖₂, the matchings drawn one by one: all 2ᴹ outcomes."""
        expected = np.zeros((size, size))
        for outcome in range(2 ** len(laplacians)):
            drawn = [outcome >> j & 1 for j in range(len(laplacians))]
            chance = np.prod(np.where(drawn, probabilities, 1 - probabilities))
            matrix = np.eye(size) - alpha * np.tensordot(drawn, laplacians, 1)
            expected += chance * matrix @ matrix
        return np.linalg.norm(expected - 1 / size, ord=2)

    best = min(norm(alpha) for alpha in np.linspace(0, 1 / largest, 101))
    # The grid is too coarse to be better than the minimum; 1e-5 is its tolerance.
    assert norm(float(topology.alpha)) <= best + 1e-5


@pytest.mark.parametrize("name", ["star", "odd_cycle", "geometric"])
def test_the_expected_round_is_the_weighted_laplacian(name):
    topology = tele.graphs.matcha(GRAPHS[name], 0.4, KEY)
    matrices = sampling.sampled(topology)
    mean = np.tensordot(
        np.asarray(topology.probabilities, np.float64), _laplacians(topology), 1
    )
    expected = np.eye(len(mean)) - float(topology.alpha) * mean
    sampling.assert_expected(matrices, expected)


def test_a_matching_is_active_as_a_whole_and_each_for_itself():
    topology = tele.graphs.matcha(GRAPHS["geometric"], 0.4, KEY)
    matrices = sampling.sampled(topology, 2000)
    partners = np.asarray(topology.partners)
    active = []
    for row in partners:
        ends = np.flatnonzero(row != np.arange(len(row)))
        used = matrices[:, row[ends], ends] > 0
        assert (used == used[:, :1]).all()  # all edges of a colour, or none
        active.append(used[:, 0])
    # Independent: the covariance of two is 0, with standard error below 1/4/√2000.
    products = np.cov(np.array(active, np.float64))
    others = products[~np.eye(len(partners), dtype=bool)]
    assert np.abs(others).max() <= 5 * 0.25 / np.sqrt(2000)


def test_numbers_of_ones_own_may_be_set():
    topology = tele.graphs.matcha(nx.cycle_graph(6), 0.5, KEY)
    never = topology.replace(probabilities=0 * topology.probabilities)
    np.testing.assert_array_equal(helpers.matrices(never, 3)[1], np.eye(6))
    always = topology.replace(probabilities=1 + 0 * topology.probabilities)
    laplacian = _laplacians(topology).sum(axis=0)
    expected = np.eye(6) - float(topology.alpha) * laplacian
    np.testing.assert_allclose(
        helpers.matrices(always, 3)[2], expected, rtol=0, atol=2**-23
    )


def test_slots_are_the_nodes_in_the_graphs_own_order():
    graph = nx.Graph([("c", "a"), ("a", "b"), ("b", "b")])  # c, a, b: a in the middle
    topology = tele.graphs.matcha(graph, 1.0, KEY)
    heard = (np.asarray(topology.partners) != np.arange(3)).sum(axis=0)
    assert heard.tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("graph", "budget", "message"),
    [
        (nx.path_graph(3), 0.0, r"got budget=0\.0, expected 0 < budget <= 1"),
        (nx.path_graph(3), 1.5, r"got budget=1\.5, expected 0 < budget <= 1"),
        (nx.path_graph(3), float("nan"), "got budget=nan, expected 0 < budget <= 1"),
        (nx.DiGraph([(0, 1)]), 0.5, "got DiGraph, expected an undirected nx.Graph"),
        (nx.MultiGraph([(0, 1)]), 0.5, "got MultiGraph, expected an undirected"),
        (nx.Graph(), 0.5, "needs at least 1 slot, got 0"),
        (
            nx.Graph([("a", "b"), ("c", "d")]),
            0.5,
            r"the graph falls into 2 components, \{a, b\}, \{c, d\}; join them",
        ),
        (
            nx.empty_graph(3000),
            0.5,
            "got 3,000 slots and 0 edges, expected at most 1,024 and 20,000",
        ),
        (
            nx.complete_graph(201),
            0.5,
            "got 201 slots and 20,100 edges, expected at most 1,024 and 20,000",
        ),
        ([(0, 1)], 0.5, "got list, expected an undirected nx.Graph"),
    ],
)
def test_what_cannot_be_is_refused(graph, budget, message):
    with pytest.raises(ValueError, match=f"^matcha: {message}"):
        tele.graphs.matcha(graph, budget, KEY)
