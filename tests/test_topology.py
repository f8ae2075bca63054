"""Topologies: what is refused, what survives a round trip, how fast they average."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tele_jax.mixing import count_messages


def _random_doubly_stochastic(rng, size):
    """A mean of permutation matrices, not symmetric."""
    permutations = [np.eye(size)[rng.permutation(size)] for _ in range(3)]
    return np.average(permutations, axis=0, weights=[0.5, 0.3, 0.2])


def _with_entry(t, row, column, value):
    matrices = np.tile(np.eye(3), (4, 1, 1))
    matrices[t, row, column] = value
    return matrices


COLUMNS = np.array([[0.5, 0.5], [0.5, 0.5]])
SPLITTER = np.array([[0.5, 0.5], [0.0, 1.0]])  # rows sum to 1, columns do not


@pytest.mark.parametrize(
    ("matrices", "stochastic", "message"),
    [
        (
            _with_entry(2, 0, 1, 0.25),
            "doubly",
            r'round 2, column 1 sums to 1\.25, expected 1; pass stochastic="row"',
        ),
        (_with_entry(3, 2, 2, 0.8333), "column", r"round 3, column 2 sums to 0\.8333"),
        (
            SPLITTER.T,
            "doubly",
            r'round 0, row 0 sums to 0\.5, expected 1; pass stochastic="column"',
        ),
        (_with_entry(1, 1, 0, 1.0), "row", r"round 1, row 1 sums to 2, expected 1\.$"),
        (
            _with_entry(1, 2, 0, -0.25),
            "doubly",
            r"round 1, row 2, column 0 is -0\.25, expected a finite weight >= 0",
        ),
        (_with_entry(3, 0, 2, math.nan), "column", r"round 3, row 0, column 2 is nan"),
        (_with_entry(0, 1, 1, math.inf), "row", r"round 0, row 1, column 1 is inf"),
        (np.ones((2, 3)), "doubly", r"shape \(1, 2, 3\), expected \[p, k, k\]"),
        (np.ones(3), "doubly", r"shape \(3,\), expected \[p, k, k\]"),
        (np.ones((1, 1, 1, 1)), "doubly", r"shape \(1, 1, 1, 1\)"),
        (np.ones((0, 2, 2)), "doubly", "at least 1 round and 1 slot"),
        (np.ones((0, 0)), "doubly", "at least 1 round and 1 slot"),
        (COLUMNS, "both", "got stochastic='both', expected one of"),
    ],
)
def test_wrong_matrices_are_refused_by_name(matrices, stochastic, message):
    with pytest.raises(ValueError, match=f"from_matrices: .*{message}"):
        tele.from_matrices(matrices, stochastic=stochastic)


@pytest.mark.parametrize(
    ("matrix", "accepted"),
    [
        (COLUMNS, {"doubly", "column", "row"}),
        (SPLITTER, {"row"}),
        (SPLITTER.T, {"column"}),
    ],
)
def test_each_kind_of_stochastic_accepts_its_own(matrix, accepted):
    for stochastic in ("doubly", "column", "row"):
        if stochastic in accepted:
            topology = tele.from_matrices(matrix, stochastic=stochastic)
            np.testing.assert_array_equal(tele.to_matrices(topology)[0], matrix)
        else:
            with pytest.raises(ValueError, match="sums to"):
                tele.from_matrices(matrix, stochastic=stochastic)


def test_sums_may_be_off_by_the_rounding_of_float32_and_no_more():
    thirds = np.full((3, 3), 1 / 3, np.float32)
    assert tele.from_matrices(thirds).num_slots == 3
    with pytest.raises(ValueError, match=r"column 0 sums to 1\.0001"):
        tele.from_matrices(thirds * 1.0001)


@pytest.mark.parametrize("size", [1, 2, 5, 8, 16])
@pytest.mark.parametrize("period", [1, 3])
def test_matrices_survive_the_round_trip(size, period):
    rng = np.random.default_rng(size)
    matrices = np.array([_random_doubly_stochastic(rng, size) for _ in range(period)])
    matrices[-1] = np.eye(size)  # rounds of unequal degree, so that padding is there
    topology = tele.from_matrices(matrices)
    assert (topology.num_slots, topology.period) == (size, period)
    np.testing.assert_allclose(tele.to_matrices(topology), matrices, atol=2**-24)
    again = tele.from_matrices(tele.to_matrices(topology))
    chex.assert_trees_all_equal(again, topology)


@pytest.mark.parametrize("start", [0, 2, 5])
def test_matrices_of_any_rounds(start):
    key = jax.random.key(0)
    for topology in (
        tele.graphs.base_graph(6, 1),
        tele.graphs.random_matching(20, key),
        tele.graphs.repeat(tele.graphs.base_graph(5, 1), 2),
    ):
        first = tele.to_matrices(topology, start + 3)
        some = tele.to_matrices(topology, 3, start=start)
        np.testing.assert_array_equal(some, first[start:])
        assert not np.array_equal(some[0], some[1])


def test_padding_is_the_slot_itself_at_weight_zero():
    matrix = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.5, 0.5]])
    mixing = tele.from_matrices(matrix).at(0)
    assert mixing.senders.dtype == jnp.int32
    assert mixing.weights.dtype == jnp.float32
    assert mixing.senders.tolist() == [[0, 1, 1], [0, 2, 2]]
    assert mixing.weights.tolist() == [[1.0, 0.5, 0.5], [0.0, 0.5, 0.5]]


def test_the_schedule_repeats_and_takes_a_traced_round():
    rng = np.random.default_rng(0)
    matrices = np.array([_random_doubly_stochastic(rng, 6) for _ in range(3)])
    topology = tele.from_matrices(matrices)
    at = jax.jit(lambda topology, t: topology.at(t))
    for t in (-1, 0, 1, 2, 3, 7, 3 * 10**8 + 2):
        expected = tele.from_matrices(matrices[t % 3])
        mixing = at(topology, t)
        chex.assert_trees_all_equal(mixing, topology.at(t))
        dense = np.zeros((6, 6))
        receivers = np.broadcast_to(np.arange(6), mixing.senders.shape)
        np.add.at(dense, (np.asarray(mixing.senders), receivers), mixing.weights)
        np.testing.assert_array_equal(dense, tele.to_matrices(expected)[0])


def test_messages_are_the_weights_between_different_slots():
    rng = np.random.default_rng(2)
    for size in (1, 2, 5, 8):
        matrices = [np.eye(size), _random_doubly_stochastic(rng, size)]
        topology = tele.from_matrices(np.array(matrices))
        for t, matrix in enumerate(matrices):
            mixing = topology.at(t)
            count = count_messages(mixing)
            chex.assert_shape(count, ())
            assert count.dtype == jnp.int32
            off_diagonal = (matrix != 0) & ~np.eye(size, dtype=bool)
            assert count == off_diagonal.sum()
