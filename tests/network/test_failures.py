"""Who is down when follows its law, and asks nothing of the others."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tele_jax import graphs, network
from tele_jax.draw import draw_active, draw_living

NODES = jnp.arange(20_000)


def _alive(crashes, t):
    return np.asarray(crashes.alive(NODES, jnp.int32(t)))


@pytest.mark.parametrize("t", [0, 1, 7, 1000])
def test_the_number_of_living_nodes_is_binomial(t):
    living = _alive(network.outages(jax.random.key(1), 0.3, 5), t).sum()
    deviation = np.sqrt(len(NODES) * 0.3 * 0.7)
    assert abs(living - 0.7 * len(NODES)) < 4 * deviation


def test_outages_last_for_their_duration_and_begin_at_random():
    crashes = network.outages(jax.random.key(2), 0.3, 5)
    over_time = np.stack([_alive(crashes, t) for t in range(40)])
    changes = over_time[1:] != over_time[:-1]
    # A node changes at most once in 5 rounds, at its own phase.
    assert (np.lib.stride_tricks.sliding_window_view(changes, 5, 0).sum(-1) <= 1).all()
    per_round = changes.mean(axis=1)
    expected = 2 * 0.3 * 0.7 / 5
    assert np.abs(per_round - expected).max() < 5 * np.sqrt(expected / len(NODES))


def test_those_who_leave_are_geometric_and_never_come_back():
    crashes = network.departures(jax.random.key(3), 0.05)
    over_time = np.stack([_alive(crashes, t) for t in range(60)])
    assert over_time[0].all()
    assert (over_time[1:] <= over_time[:-1]).all()
    law = 0.95 ** np.arange(60)
    error = 5 * np.sqrt(law * (1 - law) / len(NODES)) + 1e-6
    assert (np.abs(over_time.mean(axis=1) - law) < error).all()


def test_a_plan_is_followed():
    crashes = network.planned([0, 2, 5], [0, 4, 100])
    alive = [crashes.alive(jnp.arange(3), jnp.int32(t)).tolist() for t in range(7)]
    assert [one for one, _, _ in alive] == [True] * 7
    assert [two for _, two, _ in alive] == [True, True, False, False, True, True, True]
    assert [three for *_, three in alive] == [True] * 5 + [False] * 2


@pytest.mark.parametrize("one_way", [False, True])
def test_links_are_cut_both_ways_or_each_on_its_own(one_way):
    failures = tele.Failures(drop=0.2, one_way=one_way)
    i, j = jnp.divmod(jnp.arange(300 * 300), 300)
    cut = np.asarray(failures.cut(jax.random.key(4), i, j)).reshape(300, 300)
    assert not cut.diagonal().any()
    off = cut[~np.eye(300, dtype=bool)]
    assert abs(off.mean() - 0.2) < 5 * np.sqrt(0.2 * 0.8 / (len(off) / 2))
    both = (cut & cut.T)[~np.eye(300, dtype=bool)].mean()
    assert abs(both - (0.04 if one_way else off.mean())) < 0.01


def test_with_nobody_down_the_draw_is_that_of_the_ideal_network():
    for n, k in ((1, 1), (5, 5), (9, 4), (1000, 7)):
        for key in jax.random.split(jax.random.key(5), 20):
            living = draw_living(key, n, k, lambda nodes: nodes >= 0)
            chex.assert_trees_all_equal(living, draw_active(key, n, k))


def test_all_tuples_of_living_nodes_are_equally_likely():
    alive = jnp.array([True, False, True, True, False, True])

    @jax.jit
    @jax.vmap
    def draw(key):
        return draw_living(key, 6, 2, lambda nodes: alive[nodes])

    drawn = np.asarray(draw(jax.random.split(jax.random.key(6), 24_000)))
    pairs = {*itertools.permutations([0, 2, 3, 5], 2)}
    counts = np.array([(drawn == pair).all(axis=1).sum() for pair in pairs])
    assert counts.sum() == len(drawn)
    expected = len(drawn) / len(pairs)
    # χ² with 11 degrees of freedom is above 31.3 once in a thousand draws.
    assert ((counts - expected) ** 2 / expected).sum() < 31.3


def test_a_draw_with_too_few_living_is_short():
    drawn = draw_living(jax.random.key(7), 10, 4, lambda nodes: nodes == 3)
    assert drawn.tolist() == [3, -1, -1, -1]


def test_most_may_be_dead_and_the_draw_is_whole_and_uniform():
    @jax.jit
    def draw(key):
        return draw_living(key, 1000, 3, lambda nodes: nodes % 200 == 7)

    drawn = np.stack([draw(key) for key in jax.random.split(jax.random.key(8), 2000)])
    living = np.arange(7, 1000, 200)
    assert np.isin(drawn, living).all()
    assert all(len({*row.tolist()}) == 3 for row in drawn)
    counts = np.array([(drawn == node).sum(axis=0) for node in living])
    # χ² with 4 degrees of freedom for each of 3 places: above 18.5 once in a thousand.
    assert (((counts - 400) ** 2 / 400).sum(axis=0) < 18.5).all()


def test_all_nodes_up_in_round_zero_at_any_rate():
    assert _alive(network.departures(jax.random.key(0), 0.999999), 0).all()


TASK = tele.tasks.least_squares(jax.random.key(0), num_nodes=6, dim=3)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda key: network.outages(key, 1.5, 3), "outages: got probability=1.5"),
        (lambda key: network.outages(key, 0.5, 0), "outages: got duration=0"),
        (lambda key: network.departures(key, 1.0), "departures: got rate=1"),
        (
            lambda key: network.outages(key, 0.5, 1.9),
            "outages: got duration=1.9, expected an integer of at least 1",
        ),
        (
            lambda key: network.outages(key, [0.5, 0.1], 2),
            r"outages: got probability of shape \(2,\), expected one number",
        ),
        (lambda key: network.planned([1.7], [2]), "planned: got first=1.7 among them"),
        (
            lambda key: network.planned([1, 2], [3]),
            r"planned: got first and end of shapes \(2,\) and \(1,\)",
        ),
    ],
)
def test_bad_crashes_are_told(build, words):
    with pytest.raises(ValueError, match=words):
        build(jax.random.key(0))


@pytest.mark.parametrize(
    ("failures", "topology", "words"),
    [
        (
            tele.Failures(network.planned([0], [0])),
            graphs.ring(6),
            "got crashes for 1 nodes, expected 6",
        ),
        (
            tele.Failures(timeout=1.0),
            graphs.ring(6),
            "got one of timeout and compute, expected both or none",
        ),
        (tele.Failures(drop=1.5), graphs.ring(6), "got drop=1.5, expected"),
        (tele.Failures(drop=np.nan), graphs.ring(6), "got drop=nan, expected"),
        (
            tele.Failures(compute=network.constant(1.0), timeout=-1.0),
            graphs.ring(6),
            "got timeout=-1, expected a finite number of at least 0",
        ),
        (
            network.outages(jax.random.key(0), 0.1, 3),
            graphs.ring(6),
            "got Outages as failures, expected Failures",
        ),
        (
            tele.Failures(drop=0.0),
            graphs.complete(6),
            "Failures: got drop for a complete topology",
        ),
        (
            tele.Failures(drop=0.1),
            graphs.repeat(graphs.ring(6), 2),
            "Failures: got several rounds of gossip per step",
        ),
    ],
)
@pytest.mark.parametrize("method", [tele.UnreliableDSGD, tele.UnreliableTeleportation])
def test_failures_that_do_not_fit_are_told(method, failures, topology, words):
    with pytest.raises(ValueError, match=words):
        tele.simulate(
            method(topology, 0.1, failures),
            TASK,
            jnp.ones(3),
            jax.random.key(0),
            num_rounds=2,
        )


def test_an_unknown_policy_is_told():
    method = tele.UnreliableTeleportation(
        graphs.ring(3), 0.1, tele.Failures(), lost_token="forget"
    )
    with pytest.raises(ValueError, match="got lost_token='forget', expected"):
        tele.simulate(method, TASK, jnp.ones(3), jax.random.key(0), num_rounds=2)
