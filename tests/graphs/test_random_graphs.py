"""Graphs drawn from a seed: are they the graphs that they are called?"""

import math

import networkx as nx
import numpy as np
import pytest

import tele_jax as tele
from tests.graphs.test_by_edges import metropolis_hastings

DRAWN = {
    "erdos_renyi": lambda seed: tele.graphs.erdos_renyi(30, 0.3, seed),
    "random_regular": lambda seed: tele.graphs.random_regular(30, 4, seed),
    "watts_strogatz": lambda seed: tele.graphs.watts_strogatz(30, 4, 0.3, seed),
}


def _graph(topology):
    """The undirected graph of the weights, without loops."""
    (matrix,) = tele.to_matrices(topology)
    np.testing.assert_array_equal(matrix, matrix.T)
    graph = nx.empty_graph(len(matrix))
    graph.add_edges_from(np.argwhere(np.triu(matrix > 0, 1)).tolist())
    return graph


@pytest.mark.parametrize("name", DRAWN)
def test_a_seed_decides_the_graph(name):
    first, again, other = (DRAWN[name](seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.senders, again.senders)
    np.testing.assert_array_equal(first.weights, again.weights)
    assert nx.utils.graphs_equal(_graph(first), _graph(again))
    assert not nx.utils.graphs_equal(_graph(first), _graph(other))


@pytest.mark.parametrize("name", DRAWN)
def test_weights_are_metropolis_hastings(name):
    topology = DRAWN[name](3)
    np.testing.assert_allclose(
        tele.to_matrices(topology)[0],
        metropolis_hastings(_graph(topology)),
        rtol=0,
        atol=1.01 * 2**-25,
    )


def test_random_regular_is_simple_and_regular_wherever_it_can_be():
    for size in range(2, 13):
        for degree in range(1, size):
            if size * degree % 2:
                continue
            for seed in range(3):
                topology = tele.graphs.random_regular(
                    size, degree, seed, allow_disconnected=True
                )
                graph = _graph(topology)
                assert {d for _, d in graph.degree} == {degree}, (size, degree)
                # No partner is written down twice, so none of them is doubled.
                assert topology.senders.shape == (1, degree + 1, size)
                (matrix,) = tele.to_matrices(topology)
                used = matrix[matrix > 0]
                np.testing.assert_allclose(used, 1 / (degree + 1), rtol=2**-24)


def test_random_regular_graphs_reach_every_pair_alike():
    """Of 300 cubic graphs of 8 slots each pair is an edge in 3/7, SD √(300 · 12/49)."""
    counts = np.zeros((8, 8))
    for seed in range(300):
        topology = tele.graphs.random_regular(8, 3, seed, allow_disconnected=True)
        counts += tele.to_matrices(topology)[0] > 0
    pairs = counts[np.triu_indices(8, 1)]
    deviation = np.abs(pairs - 300 * 3 / 7).max()
    assert deviation <= 5 * math.sqrt(300 * 3 / 7 * 4 / 7)


def test_erdos_renyi_has_as_many_edges_as_the_binomial_says():
    size, probability = 400, 0.05
    pairs = size * (size - 1) // 2
    spread = math.sqrt(pairs * probability * (1 - probability))
    counts = [
        tele.to_matrices(tele.graphs.erdos_renyi(size, probability, seed))[0]
        for seed in range(4)
    ]
    edges = [np.count_nonzero(np.triu(matrix, 1)) for matrix in counts]
    for count in edges:
        assert abs(count - pairs * probability) <= 5 * spread
    assert len({*edges}) > 1  # a number of edges that is drawn, too


def test_erdos_renyi_links_every_pair_alike():
    counts = np.zeros((7, 7))
    for seed in range(400):
        topology = tele.graphs.erdos_renyi(7, 0.4, seed, allow_disconnected=True)
        counts += tele.to_matrices(topology)[0] > 0
    pairs = counts[np.triu_indices(7, 1)]
    assert np.abs(pairs - 160).max() <= 5 * math.sqrt(400 * 0.4 * 0.6)


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_erdos_renyi_with_all_edges_or_none(size):
    (full,) = tele.to_matrices(tele.graphs.erdos_renyi(size, 1.0, 0))
    np.testing.assert_allclose(full, 1 / size, rtol=2**-23)
    alone = tele.graphs.erdos_renyi(size, 0.0, 0, allow_disconnected=True)
    np.testing.assert_array_equal(tele.to_matrices(alone)[0], np.eye(size))


@pytest.mark.parametrize("degree", [2, 4, 6])
def test_watts_strogatz_that_rewires_nothing_is_the_lattice(degree):
    for size in range(degree + 1, degree + 8):
        graph = nx.watts_strogatz_graph(size, degree, 0)
        topology = tele.graphs.watts_strogatz(size, degree, 0.0, seed=0)
        assert nx.utils.graphs_equal(_graph(topology), graph)


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.7, 1.0])
@pytest.mark.parametrize(("size", "degree"), [(20, 4), (31, 6), (7, 6), (9, 2)])
def test_watts_strogatz_keeps_the_number_of_edges(size, degree, probability):
    for seed in range(3):
        topology = tele.graphs.watts_strogatz(
            size, degree, probability, seed, allow_disconnected=True
        )
        graph = _graph(topology)
        assert graph.number_of_edges() == size * degree // 2
        # Every edge keeps its first end: each slot has at least its own degree/2.
        assert min(d for _, d in graph.degree) >= degree // 2


def test_watts_strogatz_rewires_with_the_given_probability():
    """Of 2,000 lattice edges about 600 move; a few land on an edge of the lattice."""
    size, degree, probability = 1000, 4, 0.3
    topology = tele.graphs.watts_strogatz(size, degree, probability, seed=5)
    lattice = nx.watts_strogatz_graph(size, degree, 0)
    stayed = sum(lattice.has_edge(*edge) for edge in _graph(topology).edges)
    spread = math.sqrt(2000 * probability * (1 - probability))
    # The chance to land on one of the 4 places of 1,000 is below 0.4 %: 2.4 of 600.
    assert abs(stayed - 2000 * (1 - probability)) <= 5 * spread + 10


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: tele.graphs.erdos_renyi(5, 1.5, 0),
            r"erdos_renyi: got probability=1\.5, expected 0 <= probability <= 1\.",
        ),
        (
            lambda: tele.graphs.erdos_renyi(5, math.nan, 0),
            "erdos_renyi: got probability=nan, expected 0 <=",
        ),
        (
            lambda: tele.graphs.erdos_renyi(5, 0.0, 0),
            r"erdos_renyi: the graph falls into 5 components, \{0\}, \{1\}, \{2\}, …; "
            r"choose another seed or more edges, or pass allow_disconnected=True\.",
        ),
        (
            lambda: tele.graphs.random_regular(5, 3, 0),
            "random_regular: got 5 slots and degree=3, expected an even product; use "
            r"degree=4, or 6 slots\.",
        ),
        (
            lambda: tele.graphs.random_regular(6, 1, 0),
            "random_regular: the graph falls into 3 components",
        ),
        (
            lambda: tele.graphs.random_regular(6, 0, 0),
            "random_regular: got degree=0, expected at least 1",
        ),
        (
            lambda: tele.graphs.watts_strogatz(6, 3, 0.1, 0),
            r"watts_strogatz: got degree=3, expected an even number of at least 2\.",
        ),
        (
            lambda: tele.graphs.watts_strogatz(6, 0, 0.1, 0),
            "watts_strogatz: got degree=0, expected an even number of at least 2",
        ),
        (
            lambda: tele.graphs.watts_strogatz(6, 2, -0.1, 0),
            r"watts_strogatz: got probability=-0\.1, expected 0 <= probability <= 1",
        ),
    ],
)
def test_impossible_numbers_are_refused(build, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        build()


def test_more_partners_than_there_are_means_as_many_as_can_be():
    for degree in (5, 6, 100):
        (matrix,) = tele.to_matrices(tele.graphs.random_regular(6, degree, 0))
        np.testing.assert_allclose(matrix, 1 / 6, rtol=2**-24)
    for size in range(1, 10):  # an even number, or the one other of two slots
        even = max(2, (size - 1) // 2 * 2)
        most = tele.graphs.watts_strogatz(size, even, 0.0, 0)
        for degree in (even + 2, 100):
            topology = tele.graphs.watts_strogatz(size, degree, 0.0, 0)
            np.testing.assert_array_equal(topology.senders, most.senders)
            partners = [d for _, d in _graph(topology).degree]
            assert partners == [min(even, size - 1)] * size
