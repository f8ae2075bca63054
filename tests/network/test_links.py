"""Costs between nodes, and the sentences for numbers that are none."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tele_jax import graphs, network

ONES = np.ones((2, 2))


def test_neighbours_are_those_of_all_rounds_in_both_directions():
    table = network.neighbours_of(graphs.one_peer_exponential(8))
    for i in range(8):
        expected = {(i + step) % 8 for step in (1, 2, 4, -1, -2, -4)}
        assert set(table[:, i].tolist()) - {i} == expected


@pytest.mark.parametrize(
    "topology", [graphs.star(5), graphs.repeat(graphs.base_graph(6, 1), 2)]
)
def test_neighbours_are_the_entries_of_the_matrices(topology):
    from tele_jax import to_matrices

    inner = getattr(topology, "topology", topology)
    linked = (to_matrices(inner) != 0).any(axis=0)
    linked |= linked.T
    table = network.neighbours_of(topology)
    for i in range(topology.num_slots):
        assert set(table[:, i].tolist()) | {i} == {*np.flatnonzero(linked[i]), i}


def test_preferred_links_cost_less_by_the_factor():
    ring = network.preferred(network.neighbours_of(graphs.ring(6)), 4.0, 0.5, 8.0)
    i, j = jnp.divmod(jnp.arange(36), 6)
    link = ring.between(i, jnp.where(i == j, (i + 1) % 6, j))
    near = ((i - j) % 6 == 1) | ((j - i) % 6 == 1)
    near |= i == j  # a node does not send to itself: whatever
    chex.assert_trees_all_close(link.latency, jnp.where(near, 0.5, 2.0))
    chex.assert_trees_all_close(link.bandwidth, jnp.where(near, 8.0, 2.0))


def test_preferred_links_of_a_million_nodes_need_no_matrix():
    table = network.neighbours_of(graphs.ring(10**6))
    assert table.shape == (2, 10**6)


def test_clusters_are_numbered_one_after_the_other():
    latency = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]])
    links = network.clusters([1, 2, 3], latency, np.full((3, 3), 2.0))
    of = np.array([0, 1, 1, 2, 2, 2])
    i, j = np.divmod(np.arange(36), 6)
    found = links.between(jnp.array(i), jnp.array(j)).latency
    chex.assert_trees_all_close(found, jnp.float32(latency[of[i], of[j]]))
    assert links.num_nodes == 6


def test_a_rule_may_have_leaves():
    def rule(scale, i, j):
        return scale * abs(i - j), 1e6

    links = network.by_rule(jax.tree_util.Partial(rule, 0.5))
    assert jax.tree.leaves(links) == [0.5]
    assert float(links.between(jnp.int32(1), jnp.int32(4)).latency) == 1.5


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: network.same(-0.1),
            "same: got latency=-0.1, expected a finite number of at least 0",
        ),
        (lambda: network.same(np.nan), "same: got latency=nan"),
        (lambda: network.same(0.1, 0.0), "same: got bandwidth=0, expected more than 0"),
        (lambda: network.same("fast"), "same: got latency='fast', expected numbers"),
        (lambda: network.same([0.1, 0.2]), r"same: got latency of shape \(2,\)"),
        (
            lambda: network.preferred(np.array([[1, 0]]), 0.5),
            "preferred: got slowdown=0.5, expected a finite number of at least 1",
        ),
        (
            lambda: network.preferred(np.array([[1, 2]]), 5.0),
            "preferred: neighbours are 1 to 2, expected nodes from 0 to 1",
        ),
        (
            lambda: network.preferred(np.eye(2), 5.0),
            r"preferred: got neighbours as float64\[2, 2\]",
        ),
        (
            lambda: network.neighbours_of(graphs.random_matching(4, jax.random.key(0))),
            "neighbours_of: RandomMatching is random",
        ),
        (
            lambda: network.neighbours_of(graphs.complete(4)),
            "neighbours_of: everybody hears everybody",
        ),
        (
            lambda: network.clusters([2, 0], ONES, ONES),
            "clusters: got a size of 0, expected at least 1",
        ),
        (
            lambda: network.clusters([2.5], ONES, ONES),
            "clusters: got sizes .*, expected one or more integers",
        ),
        (
            lambda: network.clusters([2, 3, 4], ONES, ONES),
            r"clusters: got latency of shape \(2, 2\), expected \(3, 3\) for 3",
        ),
        (
            lambda: network.clusters([2, 3], ONES, [[1, 0], [1, 1]]),
            "clusters: cluster 0 cannot reach cluster 1",
        ),
        (
            lambda: network.plane(np.zeros((4, 3)), 0.1),
            r"plane: got positions of shape \(4, 3\), expected \[n, 2\]",
        ),
        (
            lambda: network.plane([[0.0, np.inf]], 0.1),
            "plane: got positions=inf among them",
        ),
        (lambda: network.by_rule(0.1), "by_rule: got 0.1, expected a function"),
        (
            lambda: network.matrices([[0, 1], [np.inf, 0]], ONES),
            r"matrices: node 1 cannot reach node 0 \(latency inf s, bandwidth 1 B/s\)",
        ),
        (
            lambda: network.matrices(ONES, [[1, 0], [1, 1]]),
            "matrices: node 0 cannot reach node 1",
        ),
        (
            lambda: network.matrices(ONES, np.ones((3, 3))),
            r"matrices: got bandwidth of shape \(3, 3\), expected \(2, 2\)",
        ),
        (
            lambda: network.matrices(-ONES, ONES),
            "matrices: got latency=-1 among them, expected a finite",
        ),
        (
            lambda: network.constant([1.0, -1.0]),
            "constant: got seconds=-1 among them, expected a finite",
        ),
        (
            lambda: network.constant(ONES),
            r"constant: got seconds of shape \(2, 2\), expected one number or one",
        ),
        (lambda: network.log_normal(1.0, -0.5), "log_normal: got sigma=-0.5"),
        (
            lambda: network.log_normal(1.0, [0.1, 0.2]),
            r"log_normal: got sigma of shape \(2,\), expected one number",
        ),
        (lambda: network.same(np.inf), "same: got latency=inf, expected a finite"),
        (
            lambda: network.shifted_exponential(1.0, np.nan),
            "shifted_exponential: got delay=nan",
        ),
    ],
)
def test_bad_numbers_are_told(build, words):
    with pytest.raises(ValueError, match=words):
        build()
