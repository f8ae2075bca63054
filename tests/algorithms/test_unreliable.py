"""Methods that live with failures, against float64 double loops and the ideal ones."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tele_jax import graphs, network
from tele_jax.draw import draw_living
from tests import helpers

N, K, DIM, RATE = 12, 5, 3, 0.05
KEY = jax.random.key(11)
POLICIES = ("respawn", "stale", "shrink")
TASK = helpers.logistic(N)
SPEEDS = network.log_normal(np.linspace(1, 2, N), 0.4)

FAILURES = {
    "crashes": tele.Failures(network.outages(jax.random.key(1), 0.3, 4)),
    "departures": tele.Failures(network.departures(jax.random.key(2), 0.04)),
    "links": tele.Failures(drop=0.3),
    "one way": tele.Failures(drop=0.3, one_way=True),
    "stragglers": tele.Failures(compute=SPEEDS, timeout=1.6),
    "all": tele.Failures(
        network.outages(jax.random.key(1), 0.3, 4),
        drop=0.2,
        compute=SPEEDS,
        timeout=1.8,
    ),
}
NONE = tele.Failures(
    network.outages(jax.random.key(1), 0.0, 4),
    drop=0.0,
    compute=SPEEDS,
    timeout=1e9,
)
NO_CRASHES = tele.Failures(network.departures(jax.random.key(1), 0.0))


def _start(task):
    return jnp.linspace(-1, 1, _dim(task))


def _dim(task):
    return jax.eval_shape(task.sample, KEY, jnp.int32(0), None)[0].shape[-1]


def run(method, num_rounds, task=TASK):
    return tele.simulate(
        method,
        task,
        _start(task),
        KEY,
        num_rounds=num_rounds,
        eval_every=1,
        observe=helpers.whole_state,
    )


def models(simulated):
    """Of every round, [num_rounds + 1, k, d]."""
    (leaf,) = simulated.metrics.values()
    return np.asarray(leaf, np.float64)


@jax.jit
def _gradient(x, data_key, node):
    batch = TASK.sample(jax.random.fold_in(data_key, node), node, None)
    return jax.grad(TASK.loss)(x, batch)


class Loop:
    """One round after the other, written down from the definition, in float64."""

    def __init__(self, topology, failures, num_rounds):
        self.failures, self.size = failures, topology.num_slots
        self.weights = tele.to_matrices(topology, num_rounds)

    def alive(self, nodes, t):
        nodes = jnp.asarray(nodes, jnp.int32)
        return np.asarray(self.failures.alive(nodes, jnp.int32(t))).tolist()

    def step(self, x, node, t):
        data_key, _ = jax.random.split(jax.random.fold_in(KEY, t))
        gradient = _gradient(jnp.asarray(x, jnp.float32), data_key, jnp.int32(node))
        return x - RATE * np.asarray(gradient, np.float64)

    def gossip(self, x, nodes, t):
        """x and nodes by slot, node None where a slot does nothing."""
        key = jax.random.fold_in(KEY, t)
        awaited = {
            a: bool(self.failures.in_time(key, jnp.array([node], jnp.int32))[0])
            for a, node in nodes.items()
            if node is not None
        }
        after, sent = dict(x), 0
        for a, node in nodes.items():
            if node is None or not awaited[a]:
                continue
            total, own = np.zeros_like(x[a]), 0.0
            for b, other in nodes.items():
                weight = self.weights[t][b, a]
                if b == a or weight == 0:
                    own += weight if b == a else 0.0
                    continue
                lost = other is None or not awaited[b]
                if not lost:
                    link = (jnp.array([v], jnp.int32) for v in (other, node))
                    lost = bool(self.failures.cut(key, *link)[0])
                if lost:
                    own += weight
                else:
                    total, sent = total + weight * x[b], sent + 1
            after[a] = total + own * x[a]
        return after, sent


def loop_dsgd(topology, failures, num_rounds):
    loop = Loop(topology, failures, num_rounds)
    x = {i: np.asarray(_start(TASK), np.float64) for i in range(N)}
    seen, messages, active = [], [], []
    for t in range(num_rounds):
        up = loop.alive(range(N), t)
        for i in range(N):
            if up[i]:
                x[i] = loop.step(x[i], i, t)
        x, sent = loop.gossip(x, {i: i if up[i] else None for i in range(N)}, t)
        seen.append(np.stack([x[i] for i in range(N)]))
        messages.append(sent)
        active.append(sum(up))
    return np.stack(seen), messages, active


def loop_teleportation(topology, failures, policy, num_rounds):
    """Tokens are entries of a dictionary; one that is gone is not in it."""
    loop = Loop(topology, failures, num_rounds)
    x = {a: np.asarray(_start(TASK), np.float64) for a in range(K)}
    holder, copies = {}, {}
    seen, messages, lost_counts = [], [], []
    for t in range(num_rounds):
        lost = [a for a, node in holder.items() if not loop.alive([node], t)[0]]
        kept = [a for a in x if a not in lost]
        source = {a: holder[a] for a in kept if a in holder}
        before = dict(x)
        for a in lost:
            copy = copies.get(a)
            donors = [b % K for b in range(a + 1, a + K) if b % K in kept]
            if policy == "stale" and copy and loop.alive([copy[1]], t)[0]:
                x[a], source[a] = copy
            elif policy != "shrink" and donors:
                x[a], source[a] = before[donors[0]], holder[donors[0]]
            else:
                del x[a]
        key = jax.random.split(jax.random.fold_in(KEY, t))[1]
        drawn = draw_living(
            key, N, K, lambda nodes, t=t: failures.alive(nodes, jnp.int32(t))
        ).tolist()
        nodes = dict.fromkeys(range(K))
        for a, node in zip(sorted(x), drawn, strict=False):
            nodes[a] = node if node >= 0 else None
        copies = {a: (x[a], source[a]) for a in x if a in source}
        fetched = 0
        for a in list(x):
            if nodes[a] is not None:
                fetched += a in source and source[a] != nodes[a]
                x[a] = loop.step(x[a], nodes[a], t)
        everyone = {a: x.get(a, np.zeros(len(_start(TASK)))) for a in range(K)}
        mixed, sent = loop.gossip(everyone, nodes, t)
        x = {a: mixed[a] for a in x}
        holder = {a: nodes[a] if nodes[a] is not None else source[a] for a in x}
        seen.append({a: x[a] for a in x})
        messages.append(sent + fetched)
        lost_counts.append(len(lost))
    return seen, messages, lost_counts


@pytest.mark.parametrize(
    ("topology", "failures"),
    [
        ("ring", "crashes"),
        ("ring", "links"),
        ("ring", "stragglers"),
        ("ring", "all"),
        ("exponential", "departures"),
        ("exponential", "one way"),
        ("exponential", "all"),
    ],
)
def test_dsgd_with_failures_is_the_double_loop(topology, failures):
    topology = getattr(graphs, topology)(N)
    method = tele.UnreliableDSGD(topology, RATE, FAILURES[failures])
    found = run(method, 20)
    expected, messages, active = loop_dsgd(topology, FAILURES[failures], 20)
    chex.assert_trees_all_close(models(found)[1:], expected, rtol=2e-5, atol=2e-6)
    assert found.info.messages.tolist() == messages
    assert found.info.active.tolist() == active


@pytest.mark.parametrize(
    ("policy", "failures"),
    [
        *((policy, name) for policy in POLICIES for name in ("crashes", "all")),
        *(("respawn", name) for name in FAILURES if name not in ("crashes", "all")),
    ],
)
def test_teleportation_with_failures_is_the_double_loop(policy, failures):
    topology = graphs.ring(K)
    method = tele.UnreliableTeleportation(
        topology, RATE, FAILURES[failures], lost_token=policy
    )
    found = run(method, 20)
    expected, messages, lost = loop_teleportation(
        topology, FAILURES[failures], policy, 20
    )
    for mine, theirs in zip(models(found)[1:], expected, strict=True):
        for a, x in theirs.items():
            chex.assert_trees_all_close(mine[a], x, rtol=2e-5, atol=2e-6)
    assert found.info.lost.tolist() == lost
    assert found.info.messages.tolist() == messages
    if failures in ("crashes", "all"):
        assert sum(lost) >= 5


@pytest.mark.parametrize(
    ("name", "failures"), [("ring", NONE), ("base", NO_CRASHES), ("complete", NONE)]
)
def test_with_rates_of_zero_it_is_bit_by_bit_the_ideal_dsgd(name, failures):
    topology = {
        "ring": graphs.ring(N),
        "base": graphs.base_graph(N, 2),
        "complete": graphs.complete(N),
    }[name]
    if name == "complete":
        failures = failures.replace(drop=None)  # an all-reduce has no links
    ideal = run(tele.DSGD(topology, RATE, helpers.MOMENTUM), 15)
    found = run(tele.UnreliableDSGD(topology, RATE, failures, helpers.MOMENTUM), 15)
    chex.assert_trees_all_equal(found.state, ideal.state)
    chex.assert_trees_all_equal(found.metrics, ideal.metrics)
    chex.assert_trees_all_equal(found.info.loss, ideal.info.loss)
    chex.assert_trees_all_equal(found.info.messages, ideal.info.messages)
    assert not np.asarray(found.info.lost).any()


@pytest.mark.parametrize("policy", ["respawn", "stale"])
def test_with_rates_of_zero_it_is_bit_by_bit_the_ideal_teleportation(policy):
    topology = graphs.base_graph(K, 1)
    whole = functools.partial(tele.Teleportation, fetch="two_phase")
    ideal = run(whole(topology, RATE, helpers.MOMENTUM), 15)
    found = run(
        tele.UnreliableTeleportation(
            topology, RATE, NONE, helpers.MOMENTUM, lost_token=policy
        ),
        15,
    )
    for part in ("params", "memory", "nodes"):
        chex.assert_trees_all_equal(
            getattr(found.state, part), getattr(ideal.state, part)
        )
    chex.assert_trees_all_equal(found.metrics, ideal.metrics)
    chex.assert_trees_all_equal(found.info.messages, ideal.info.messages)


@pytest.mark.parametrize(
    "topology", [graphs.ring(N), graphs.base_graph(N, 2), graphs.complete(N)]
)
def test_on_undirected_graphs_gossip_keeps_the_mean_of_the_living(topology):
    failures = FAILURES["all"]
    if isinstance(topology, type(graphs.complete(N))):
        failures = failures.replace(drop=None)
    found = run(tele.UnreliableDSGD(topology, RATE, failures), 30)
    assert float(found.info.drift.max()) < 1e-6
    assert (found.info.active < N).any()


def test_cuts_of_one_direction_move_the_mean_and_it_is_told():
    method = tele.UnreliableDSGD(graphs.ring(N), RATE, FAILURES["one way"])
    found = run(method, 30)
    assert float(found.info.drift.min()) > 0
    assert np.isfinite(models(found)).all()


@pytest.mark.parametrize("policy", ["respawn", "shrink"])
def test_the_drift_of_a_lost_token_is_what_it_moves_the_mean(policy):
    failures = FAILURES["crashes"]
    method = tele.UnreliableTeleportation(
        graphs.ring(K), RATE, failures, lost_token=policy
    )
    drift = np.asarray(run(method, 20).info.drift)
    _, _, lost = loop_teleportation(graphs.ring(K), failures, policy, 20)
    quiet = np.array(lost) == 0
    assert drift[quiet].max(initial=0.0) < 1e-6
    assert (drift[~quiet] > 1e-4).mean() > 0.7


@pytest.mark.parametrize("policy", ["stale", "shrink"])
def test_when_all_are_dead_nothing_moves_and_nothing_is_nan(policy):
    gone = tele.Failures(network.planned(np.full(N, 6), np.full(N, 10**6)))
    for method in (
        tele.UnreliableDSGD(graphs.ring(N), RATE, gone),
        tele.UnreliableTeleportation(graphs.ring(K), RATE, gone, lost_token=policy),
    ):
        found = run(method, 12)
        x = models(found)
        chex.assert_trees_all_equal(x[6:], np.broadcast_to(x[6], x[6:].shape))
        assert (np.asarray(found.info.active) > 0).tolist() == [True] * 6 + [False] * 6
        for leaf in (*found.info[:2], found.info.drift):
            assert np.isfinite(leaf).all()


def test_shrinking_leaves_fewer_tokens_for_good():
    method = tele.UnreliableTeleportation(
        graphs.ring(K), RATE, FAILURES["departures"], lost_token="shrink"
    )
    found = run(method, 40)
    active = np.asarray(found.info.active)
    assert (np.diff(active) <= 0).all()
    assert active[-1] < K
    assert K - active[-1] == int(found.info.lost.sum())
