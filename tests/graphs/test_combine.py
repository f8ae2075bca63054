"""Topologies side by side, and one round after the other."""

import math

import jax
import numpy as np
import pytest
from scipy.linalg import block_diag

import tele_jax as tele
from tests import helpers

KEY = jax.random.key(9)


def _entries(topology):
    return sum(np.size(leaf) for leaf in jax.tree.leaves(topology))


UNIONS = {
    "periods": lambda: [
        tele.graphs.ring(3),
        tele.graphs.base_graph(5, 1),
        tele.graphs.one_peer_exponential(6),
    ],
    "degrees": lambda: [tele.graphs.star(5), tele.graphs.ring(2)],
    "single_slots": lambda: [tele.graphs.ring(1), tele.graphs.ring(4)] * 2,
    "complete": lambda: [tele.graphs.complete(3), tele.graphs.complete(4)],
    "complete_and_table": lambda: [tele.graphs.ring(4), tele.graphs.complete(3)],
    "one": lambda: [tele.graphs.exponential(6)],
    "unions": lambda: [
        tele.graphs.disjoint_union(tele.graphs.ring(3), tele.graphs.complete(2)),
        tele.graphs.base_graph(3, 1),
    ],
    "random": lambda: [tele.graphs.random_matching(5, KEY), tele.graphs.ring(3)],
    "senders_choose": lambda: [
        tele.graphs.el_local(4, 2, KEY),
        tele.graphs.el_local(1, 2, KEY),
    ],
    "repeated": lambda: [
        tele.graphs.repeat(tele.graphs.one_peer_exponential(5), 2),
        tele.graphs.repeat(tele.graphs.complete(3), 2),
    ],
}
every_union = pytest.mark.parametrize("name", UNIONS)


@every_union
def test_a_union_is_block_diagonal_and_each_block_keeps_its_clock(name):
    blocks = UNIONS[name]()
    union = tele.graphs.disjoint_union(*blocks)
    num_rounds = 11
    each = [helpers.matrices(block, num_rounds) for block in blocks]
    for block, matrices in zip(blocks, each, strict=True):
        if block.period is not None:  # repeats itself, by itself
            np.testing.assert_array_equal(
                matrices[block.period :], matrices[: num_rounds - block.period]
            )
    expected = [block_diag(*(one[t] for one in each)) for t in range(num_rounds)]
    got = helpers.matrices(union, num_rounds)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2**-50)
    assert union.num_slots == sum(block.num_slots for block in blocks)


@every_union
def test_a_union_holds_its_blocks_and_nothing_else(name):
    blocks = UNIONS[name]()
    union = tele.graphs.disjoint_union(*blocks)
    assert _entries(union) == sum(map(_entries, blocks))
    periods = [block.period for block in blocks]
    expected = None if None in periods else math.lcm(*periods)
    assert union.period == expected


def test_a_union_of_many_periods_is_never_written_down():
    """Its period, 6,126,120 · 17, would take as many rounds of tables."""
    sizes = [2, 5, 21, 100]
    blocks = [tele.graphs.base_graph(size, 1) for size in sizes]
    blocks += [tele.graphs.one_peer_exponential(2**p) for p in (7, 11, 13)]
    union = tele.graphs.disjoint_union(*blocks)
    assert union.period == math.lcm(*(block.period for block in blocks)) > 10_000
    assert _entries(union) == sum(map(_entries, blocks))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: [], r"got no topology, expected at least one\.$"),
        (
            lambda: [[tele.graphs.ring(3), tele.graphs.ring(2)]],
            "got a list, expected topologies; pass them one by one",
        ),
        (
            lambda: [tele.graphs.el_local(4, 2, KEY), tele.graphs.ring(3)],
            r"got blocks that gossip in different forms \(ELLocal: senders choose; "
            r"Periodic: receivers choose\), expected one form; build all blocks from "
            r"one family",
        ),
        (
            lambda: [
                tele.graphs.repeat(tele.graphs.ring(3), 2),
                tele.graphs.repeat(tele.graphs.ring(3), 3),
            ],
            r"got blocks that gossip in different forms \(Repeat: receivers choose, 2 "
            r"rounds of gossip per step; Repeat: receivers choose, 3 rounds",
        ),
        (
            lambda: [
                tele.graphs.repeat(tele.graphs.ring(3), 2),
                tele.graphs.ring(3),
            ],
            r"\(Repeat: receivers choose, 2 rounds of gossip per step; Periodic: "
            r"receivers choose\)",
        ),
        (
            lambda: [tele.graphs.complete(100_000), tele.graphs.ring(3)],
            r"100,003 slots, of which one hears 100,000 with itself, need a table "
            r"of 10,000,300,000 entries \(75 GiB\)",
        ),
    ],
)
def test_unions_that_cannot_be_are_refused(build, message):
    with pytest.raises(ValueError, match=f"^disjoint_union: .*{message}"):
        tele.graphs.disjoint_union(*build())


def test_a_union_of_repeated_complete_graphs_too_large_for_a_table_is_refused():
    blocks = [tele.graphs.repeat(tele.graphs.complete(100_000), 2)] * 2
    with pytest.raises(ValueError, match=r"^disjoint_union: .*need a table of"):
        tele.graphs.disjoint_union(*blocks)


REPEATED = {
    "base": lambda: tele.graphs.base_graph(6, 1),  # period 4
    "one_peer": lambda: tele.graphs.one_peer_exponential(5),  # period 3
    "ring": lambda: tele.graphs.ring(4),
    "complete": lambda: tele.graphs.complete(3),
    "random": lambda: tele.graphs.random_matching(5, KEY),
    "senders_choose": lambda: tele.graphs.el_local(5, 2, KEY),
    "union": lambda: tele.graphs.disjoint_union(*UNIONS["complete_and_table"]()),
    "repeated": lambda: tele.graphs.disjoint_union(*UNIONS["repeated"]()),
}
every_repeated = pytest.mark.parametrize("name", REPEATED)


@pytest.mark.parametrize(
    ("name", "times"),
    [(name, 2) for name in REPEATED] + [("base", 1), ("base", 3), ("one_peer", 3)],
)
def test_repeat_is_the_product_of_consecutive_rounds(name, times):
    topology = REPEATED[name]()
    repeated = tele.graphs.repeat(topology, times)
    assert repeated.num_slots == topology.num_slots
    rounds = helpers.matrices(topology, 4 * times)
    expected = []
    for t in range(4):
        product = np.eye(topology.num_slots)
        for one in rounds[times * t : times * (t + 1)]:
            product = product @ one
        expected.append(product)
    got = helpers.matrices(repeated, 4)
    # The same float32 weights, multiplied in float64.
    np.testing.assert_allclose(got, expected, rtol=0, atol=2**-48)


@every_repeated
def test_the_period_of_repeat_is_the_least_that_there_is(name):
    topology = REPEATED[name]()
    for times in range(1, 9):
        period = tele.graphs.repeat(topology, times).period
        if topology.period is None:
            assert period is None
        else:  # the first p with p · times a multiple of the period
            steps = range(1, topology.period + 1)
            assert period == next(p for p in steps if p * times % topology.period == 0)


def test_repeating_a_repetition_multiplies():
    one_peer = tele.graphs.one_peer_exponential(8)
    twice = tele.graphs.repeat(tele.graphs.repeat(one_peer, 2), 3)
    once = tele.graphs.repeat(one_peer, 6)
    assert twice.period == once.period == 1
    np.testing.assert_array_equal(helpers.matrices(twice, 2), helpers.matrices(once, 2))


def test_a_finite_time_graph_repeated_over_its_period_is_exact_in_every_step():
    topology = tele.graphs.repeat(tele.graphs.base_graph(7, 1), 5)
    assert topology.period == 1
    # Five rounds of weights off by 2⁻²⁴.
    np.testing.assert_allclose(
        helpers.matrices(topology, 3), 1 / 7, rtol=0, atol=1.01 * 5 * 2**-24
    )


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (0, r"repeat: needs at least 1 round of gossip, got 0\.$"),
        (1.5, r"repeat: got 1\.5, expected a whole number >= 1 of rounds of gossip\.$"),
    ],
)
def test_no_rounds_per_step_are_refused(times, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        tele.graphs.repeat(tele.graphs.ring(3), times)
