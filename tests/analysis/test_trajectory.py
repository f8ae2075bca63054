"""Consensus errors: those of a double loop, and exact where they should be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tele_jax import analysis, graphs

KEY = jax.random.key(3)
TOPOLOGIES = {
    "ring": graphs.ring(7),
    "star": graphs.star(6),
    "complete": graphs.complete(5),
    "one_peer_exponential": graphs.one_peer_exponential(6),
    "el_local": graphs.el_local(7, 2, KEY),
    "od_equidyn": graphs.od_equidyn(7, KEY),
    "repeat": graphs.repeat(graphs.one_peer_exponential(6), 2),
    "one_slot": graphs.ring(1),
}


def by_hand(matrices, seed, num_columns=16):
    """Errors and messages by loops over slots and senders, in float64."""
    num_slots = matrices.shape[1]
    x = np.random.default_rng(seed).normal(size=(num_slots, num_columns))
    goal = x.mean(axis=0)

    def error(x):
        return np.sqrt(sum(np.sum((one - goal) ** 2) for one in x) / num_slots)

    errors, messages = [error(x)], [0]
    for one in matrices:
        after = np.zeros_like(x)
        sent = 0
        for i in range(num_slots):
            for j in range(num_slots):
                after[i] += one[j, i] * x[j]
                sent += i != j and one[j, i] != 0
        x = after
        errors.append(error(x))
        messages.append(messages[-1] + sent)
    return np.array(errors) / (errors[0] or 1.0), messages


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_agrees_with_a_double_loop(name):
    topology = TOPOLOGIES[name]
    errors, messages = analysis.consensus_errors(topology, 5, seed=4)
    expected, sent = by_hand(tele.to_matrices(topology, 5), seed=4)
    assert (errors.dtype, messages.dtype) == (np.float64, np.int64)
    np.testing.assert_allclose(errors, expected, rtol=1e-9, atol=1e-12)
    if name != "repeat":  # which sends in every one of its rounds of gossip
        np.testing.assert_array_equal(messages, sent)
    else:
        np.testing.assert_array_equal(messages, 2 * 6 * np.arange(6))


@pytest.mark.parametrize(
    "topology",
    [
        graphs.base_graph(25, 1),
        graphs.base_graph(12, 4),
        graphs.simple_base_graph(11, 1),
        graphs.hyper_hypercube(12, 2),
        graphs.one_peer_hypercube(16),
        graphs.one_peer_exponential(8),
        graphs.complete(9),
    ],
)
def test_a_finite_time_graph_is_exact_at_its_round_and_not_before(topology):
    exact = analysis.exact_after(topology)
    assert 1 <= exact <= topology.period
    errors, _ = analysis.consensus_errors(topology, exact + 2)
    assert errors[0] == 1.0
    assert (errors[:exact] > 1e-3).all()
    assert (errors[exact:] < 1e-5).all()


def test_a_graph_that_moves_the_mean_levels_off():
    local = analysis.consensus_errors(graphs.el_local(16, 2, KEY), 80).errors
    oracle = analysis.consensus_errors(graphs.el_oracle(16, 2, KEY), 80).errors
    assert local[80] == pytest.approx(local[60], rel=1e-3)
    assert local[80] > 0.05
    assert oracle[80] < 1e-6


def test_the_seed_decides_the_numbers():
    one, same, other = (
        analysis.consensus_errors(graphs.ring(6), 3, seed).errors for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one[1:] != other[1:]).all()


def test_leaves_the_precision_as_it_was():
    analysis.consensus_errors(graphs.ring(6), 3)
    assert jnp.ones(3).dtype == jnp.float32


@pytest.mark.parametrize("num_rounds", [0, -1])
def test_needs_a_round(num_rounds):
    with pytest.raises(ValueError, match=rf"got num_rounds={num_rounds}, expected"):
        analysis.consensus_errors(graphs.ring(4), num_rounds)
