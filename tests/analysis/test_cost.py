"""Degrees against the entries of the mixing matrices."""

import jax
import numpy as np
import pytest

import tele_jax as tele

KEY = jax.random.key(0)
graphs = tele.graphs

TOPOLOGIES = {
    "ring": graphs.ring(7),
    "star": graphs.star(7),
    "exponential": graphs.exponential(12),
    "complete": graphs.complete(6),
    "base_2": graphs.base_graph(7, 1),
    "el_oracle": graphs.el_oracle(9, 3, KEY),
    "el_local": graphs.el_local(9, 3, KEY),
    "one_slot": graphs.ring(1),
    "restricted": graphs.restrict(graphs.complete(5), np.array([1, 1, 0, 1, 0], bool)),
}


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_degrees_count_the_weights_off_the_diagonal(name):
    topology = TOPOLOGIES[name]
    matrices = tele.to_matrices(topology, topology.period or 100)
    travels = (matrices != 0) & ~np.eye(topology.num_slots, dtype=bool)
    got = tele.analysis.degrees(topology)
    assert got.in_max == travels.sum(axis=1).max()
    assert got.out_max == travels.sum(axis=2).max()
    np.testing.assert_allclose(got.mean, travels.sum(axis=1).mean(), rtol=1e-12)


def test_rounds_of_one_step_add_up():
    once, twice = (
        tele.analysis.degrees(topology, 2)
        for topology in (graphs.ring(6), graphs.repeat(graphs.ring(6), 2))
    )
    assert twice == (2 * once.in_max, 2 * once.out_max, 2 * once.mean)


def test_a_union_has_the_largest_degree_of_its_blocks():
    got = tele.analysis.degrees(graphs.disjoint_union(graphs.star(5), graphs.ring(10)))
    assert (got.in_max, got.out_max) == (4, 4)
    np.testing.assert_allclose(got.mean, (2 * 4 + 10 * 2) / 15)


def test_the_number_of_rounds_can_be_said():
    one_peer = graphs.base_graph(5, 1)  # 01, 23 in round 0; 01, 34 in round 2
    np.testing.assert_allclose(tele.analysis.degrees(one_peer, 1).mean, 4 / 5)


@pytest.mark.parametrize(
    ("topology", "expected"),
    [
        (graphs.ring(32), [2]),
        # Partners at 1, 2, 4, 8, 16: at most the four slots of another device.
        (graphs.one_peer_exponential(32), [1, 2, 4, 4, 4]),
        # A row of the torus above, and one below.
        (graphs.torus(8, 8), [16]),
        (graphs.complete(32), [1.75]),
        (graphs.repeat(graphs.complete(32), 3), [5.25]),
        (graphs.lazy(graphs.ring(32)), [2]),
        (graphs.repeat(graphs.ring(32), 3), [6]),
        (graphs.repeat(graphs.one_peer_exponential(32), 2), [3, 8, 5, 6, 8]),
        (graphs.random_matching(32, KEY), [28]),
        (graphs.ring(33), [28]),  # eight devices do not divide 33: one has five
        (graphs.star(32), [28]),
    ],
)
def test_models_between_devices(topology, expected):
    got = tele.analysis.models_between_devices(topology, 8)
    np.testing.assert_allclose(got, expected)
    np.testing.assert_allclose(
        tele.analysis.models_between_devices(topology, 1), np.zeros(len(expected))
    )


@pytest.mark.parametrize("num_devices", [2, 4, 8])
def test_no_less_than_what_is_heard_moves_between_devices(num_devices):
    topology = graphs.base_graph(24, 1)
    own = 24 // num_devices
    device = np.arange(24) // own
    for matrix, moved in zip(
        tele.to_matrices(topology),
        tele.analysis.models_between_devices(topology, num_devices),
        strict=True,
    ):
        heard = [
            len(
                {
                    j
                    for j in range(24)
                    if device[j] != d and matrix[j, device == d].any()
                }
            )
            for d in range(num_devices)
        ]
        assert max(heard) <= moved <= 24 - own
