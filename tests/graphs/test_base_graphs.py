"""Base-(k+1) graphs: the authors' matrices, an oracle of our own, and exactness."""

import math

import numpy as np
import pytest

import tele_jax as tele
from tests.graphs import base_oracle
from tests.graphs.authors import assert_is_the_authors, oracles

GRAPHS = {
    "simple_base_graph": tele.graphs.simple_base_graph,
    "base_graph": tele.graphs.base_graph,
}
every_graph = pytest.mark.parametrize("graph", GRAPHS)


@pytest.mark.parametrize("name", [name for graph in GRAPHS for name in oracles(graph)])
def test_agrees_with_the_authors_matrices(name):
    assert_is_the_authors(name, GRAPHS[name.rsplit("_", 2)[0]])


def test_the_authors_matrices_are_all_there():
    for graph in GRAPHS:
        expected = {f"{graph}_{k}_{n}" for k in range(1, 5) for n in range(2, 13)}
        assert set(oracles(graph)) == expected


SWEPT = [*range(1, 61), 97, 125, 200]


@every_graph
@pytest.mark.parametrize("degree", [1, 2, 3, 4, 5])
def test_agrees_with_the_double_loop_over_nodes_and_edges(graph, degree):
    for size in SWEPT:
        expected = np.array(getattr(base_oracle, graph)(size, degree), np.float64)
        topology = GRAPHS[graph](size, degree)
        assert topology.period == len(expected), size
        # Weights are rounded to float32 once: half a unit of numbers below 1.
        np.testing.assert_allclose(
            tele.to_matrices(topology), expected, rtol=0, atol=1.01 * 2**-25
        )


@every_graph
@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_all_agree_after_a_period_at_every_size(graph, degree):
    for size in range(1, 101):
        topology = GRAPHS[graph](size, degree)
        base = min(degree, max(1, size - 1)) + 1
        assert topology.period <= 2 * math.log(size) / math.log(base) + 2 + 1e-9
        matrices = tele.to_matrices(topology)
        np.testing.assert_array_equal(matrices, matrices.transpose(0, 2, 1))
        partners = (matrices != 0).sum(axis=1) - 1
        assert partners.max() <= degree
        product = np.eye(size)
        for matrix in matrices:
            product = product @ matrix
        # Each factor is off by 2⁻²⁴ in the norm of column sums, their product by p
        # times that.
        rounding = 1.01 * topology.period * 2**-24
        np.testing.assert_allclose(product, 1 / size, rtol=0, atol=rounding)


def _edges(listed):
    """``01,34(2/3)`` as edges and weights; 1/2 if there is none."""
    edges = {}
    for edge in listed.split(","):
        pair, _, weight = edge.strip().rstrip(")").partition("(")
        top, _, bottom = (weight or "1/2").partition("/")
        edges[int(pair[0]), int(pair[1])] = int(top) / int(bottom)
    return edges


@pytest.mark.parametrize(
    ("size", "rounds"),
    [
        (5, "01,23; 02,13; 01,34(4/5); 01,23; 02,13"),
        (6, "01,34; 12(2/3),45(2/3); 01,34; 03,14,25"),
        (7, "01,23,45; 02,13,45; 15(4/7),24(4/7),36(4/7); 01,23,56(2/3); 02,13,45"),
    ],
)
def test_base_2_edge_by_edge(size, rounds):
    matrices = tele.to_matrices(tele.graphs.base_graph(size, 1))
    assert len(matrices) == len(rounds.split(";"))
    for matrix, listed in zip(matrices, rounds.split(";"), strict=True):
        linked = {(i, j): matrix[i, j] for i, j in np.argwhere(np.triu(matrix, 1))}
        assert linked == pytest.approx(_edges(listed), abs=2**-25)


@every_graph
def test_more_partners_than_there_are_means_all(graph):
    for size in (1, 2, 5):
        every = GRAPHS[graph](size, max(1, size - 1))
        for degree in (size, 100):
            np.testing.assert_array_equal(
                tele.to_matrices(GRAPHS[graph](size, degree)), tele.to_matrices(every)
            )
    (all_at_once,) = tele.to_matrices(GRAPHS[graph](5, 100))
    np.testing.assert_allclose(all_at_once, 1 / 5, rtol=0, atol=2**-25)
