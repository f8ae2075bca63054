"""Where slots are drawn: circles, grids, and layouts that show the structure."""

import networkx as nx
import numpy as np
import pytest

import tele_jax as tele
from tele_jax import graphs, plot
from tele_jax.plot import positions


def _linked(topology):
    return (tele.to_matrices(topology) != 0).any(axis=0)


def test_the_circle_starts_at_the_top_and_goes_clockwise():
    where = positions.circle_positions(4)
    expected = [[0, 1], [1, 0], [0, -1], [-1, 0]]
    np.testing.assert_allclose(where, expected, atol=1e-12)


@pytest.mark.parametrize(
    "topology",
    [
        graphs.ring(9),
        graphs.exponential(9),
        graphs.complete(9),
        graphs.d_equistatic(20, 2, seed=0),
        graphs.one_peer_exponential(9),
        graphs.base_graph(9, 1),
        graphs.disjoint_union(graphs.chain(3), graphs.chain(4)),
    ],
)
def test_what_is_drawn_on_a_circle(topology):
    where = positions.default_positions(_linked(topology), topology.period != 1)
    np.testing.assert_array_equal(where, positions.circle_positions(len(where)))


@pytest.mark.parametrize(
    "graph", [nx.path_graph(9), nx.balanced_tree(2, 3), nx.barbell_graph(5, 0)]
)
def test_a_sparse_graph_is_laid_out_by_its_edges(graph):
    linked = nx.to_numpy_array(graph) != 0
    where = positions.default_positions(linked, changes=False)
    apart = np.linalg.norm(where[:, None] - where[None], axis=2)
    others = ~np.eye(len(where), dtype=bool)
    # Neighbours are nearer than others, and the layout is the same every time.
    assert apart[linked].mean() < 0.75 * apart[others & ~linked].mean()
    again = positions.default_positions(linked, changes=False)
    np.testing.assert_array_equal(again, where)


def test_a_hub_is_in_the_middle_of_the_others():
    linked = np.zeros((5, 5), bool)
    linked[2] = True
    where = positions.default_positions(linked, changes=False)
    np.testing.assert_array_equal(where[2], [0.0, 0.0])
    others = np.delete(where, 2, axis=0)
    np.testing.assert_array_equal(others, positions.circle_positions(4))


def test_the_longest_way_lies_from_left_to_right():
    where = positions.force_positions(_linked(graphs.chain(8)))
    steps = np.diff(where[:, 0])
    assert (steps > 0).all() or (steps < 0).all()
    assert np.ptp(where[:, 1]) < 0.3 * np.ptp(where[:, 0])


def test_a_grid_has_rows_and_columns_and_no_slot_on_the_way_around():
    where = plot.grid_positions(4, 5).reshape(4, 5, 2)
    assert (np.diff(where[:, :, 0], axis=1) > 0).all()  # columns from left to right
    assert (np.diff(where[:, :, 1], axis=0) < 0).all()  # rows from top to bottom
    lines = [*where, *where.transpose(1, 0, 2)]
    for line in lines:
        first, last = line[0], line[-1]
        along = (last - first) / np.linalg.norm(last - first)
        beside = line[1:-1] - first
        height = np.abs(along[0] * beside[:, 1] - along[1] * beside[:, 0])
        assert (height > 0.15).all()


def test_one_row_and_one_slot_have_places():
    assert plot.grid_positions(1, 4).shape == (4, 2)
    np.testing.assert_allclose(positions.fitted(np.array([[3.0, 4.0]])), [[0.0, 0.0]])


def test_fitting_keeps_the_shape():
    where = positions.fitted(np.array([[0.0, 0.0], [8.0, 0.0], [8.0, 2.0]]))
    np.testing.assert_allclose(where, [[-1, -0.25], [1, -0.25], [1, 0.25]])
