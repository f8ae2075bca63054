"""A hundred thousand slots: what is refused, and what the others hold."""

import jax
import networkx as nx
import numpy as np
import pytest

import tele_jax as tele

BIG = 100_000


DENSE = {
    "star": (lambda: tele.graphs.star(BIG), BIG),
    "barbell": (lambda: tele.graphs.barbell(BIG), BIG // 2 + 1),
    "caveman": (lambda: tele.graphs.caveman(2, BIG // 2), BIG // 2 + 1),
    "erdos_renyi": (lambda: tele.graphs.erdos_renyi(BIG, 0.5, 0), BIG // 2),
    "random_regular": (lambda: tele.graphs.random_regular(BIG, 5000, 0), 5001),
    "watts_strogatz": (lambda: tele.graphs.watts_strogatz(BIG, 5000, 0.1, 0), 5001),
    "from_networkx": (
        lambda: tele.graphs.from_networkx(nx.star_graph(BIG // 4 - 1)),
        None,
    ),
}


@pytest.mark.parametrize("name", DENSE)
def test_dense_graphs_of_many_slots_are_refused_with_the_size_they_need(name):
    build, senders = DENSE[name]
    slots = BIG if senders else BIG // 4
    senders = senders or slots
    entries = slots * senders
    message = (
        rf"^{name}: {slots:,} slots, of which one hears {senders:,} with itself, need "
        rf"a table of {entries:,} entries \({8 * entries / 2**30:,.0f} GiB\), more "
        r"than 134,217,728; use fewer slots, complete\(k\), or a sparser graph\.$"
    )
    with pytest.raises(ValueError, match=message):
        build()


def test_too_many_bases_are_refused_with_the_size_they_need():
    for name in ("d_equistatic", "u_equistatic"):
        with pytest.raises(ValueError, match=f"^{name}: 100,000 slots, of which one"):
            getattr(tele.graphs, name)(BIG, 5000, 0)


def test_schedules_of_too_many_rounds_are_refused_with_the_size_they_need():
    """Of 10⁷ slots, with one partner in each of 24 rounds."""
    with pytest.raises(
        ValueError,
        match=r"^one_peer_exponential: 10,000,000 slots, of which one hears 2 with "
        r"itself in 24 rounds, need a table of 480,000,000 entries \(4 GiB\)",
    ):
        tele.graphs.one_peer_exponential(10**7)
    for name in ("simple_base_graph", "base_graph"):
        with pytest.raises(ValueError, match=rf"^{name}: 10,000,000 slots.* rounds"):
            getattr(tele.graphs, name)(10**7, 1)


SPARSE = {
    # Name to the topology, its period and the senders of a slot, itself included.
    "ring": (lambda: tele.graphs.ring(BIG), 1, 3),
    "exponential": (lambda: tele.graphs.exponential(BIG), 1, 18),
    "one_peer_exponential": (lambda: tele.graphs.one_peer_exponential(BIG), 17, 2),
    # 100,000 = 2⁵ 5⁵, in factors of at most 5.
    "hyper_hypercube": (lambda: tele.graphs.hyper_hypercube(BIG, 4), 8, 5),
    # Groups of 3,125 = 2,048 + … take 11 + 1 + 11 rounds, and 2⁵ of them 5 more.
    "base_graph": (lambda: tele.graphs.base_graph(BIG, 1), 28, 2),
    "random_regular": (lambda: tele.graphs.random_regular(BIG, 4, 0), 1, 5),
    "d_equistatic": (lambda: tele.graphs.d_equistatic(BIG, 8, 0), 1, 9),
    "torus": (lambda: tele.graphs.torus(250, 400), 1, 5),
    "chain": (lambda: tele.graphs.chain(BIG), 1, 3),
}


@pytest.mark.parametrize("name", SPARSE)
def test_a_table_holds_a_sender_and_a_weight_per_slot_and_partner(name):
    build, period, num_senders = SPARSE[name]
    topology = build()
    assert topology.period == period
    assert topology.senders.shape == (period, num_senders, BIG)
    assert topology.weights.shape == (period, num_senders, BIG)
    assert len(jax.tree.leaves(topology)) == 2
    sums = np.asarray(topology.weights).sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(sums, 1, rtol=0, atol=2**-24)


def test_complete_holds_nothing():
    assert jax.tree.leaves(tele.graphs.complete(BIG)) == []


def test_one_peer_exponential_reaches_far_at_many_slots():
    one_peer = tele.graphs.one_peer_exponential(BIG)
    assert {*one_peer.senders[16, :, 0].tolist()} == {0, BIG - 2**16}
    assert {*tele.graphs.ring(BIG).senders[0, :, -1].tolist()} == {
        BIG - 1,
        0,
        BIG - 2,
    }
