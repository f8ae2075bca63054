"""Clocks against a discrete-event simulation, closed forms and three nodes by hand."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import tele_jax as tele
from tele_jax import graphs, network
from tele_jax.draw import draw_active
from tests import helpers
from tests.network import events

KEY = jax.random.key(3)
K, N = 8, 13

TOPOLOGIES = {
    "ring": graphs.ring(K),
    "exponential": graphs.exponential(K),
    "one-peer": graphs.one_peer_exponential(K),
    "base": graphs.base_graph(K, 2),
    "star": graphs.star(K),
    "complete": graphs.complete(K),
    "matching": graphs.random_matching(K, jax.random.key(5)),
    "push": graphs.el_local(K, 2, jax.random.key(6)),
    "twice": graphs.repeat(graphs.ring(K), 2),
    "lazy": graphs.lazy(graphs.exponential(K)),
}
VARIANTS = {
    "parallel": {},
    "serial": {"sends": "serial"},
    "half": {"duplex": "half"},
    "serial, half": {"sends": "serial", "duplex": "half"},
    "barrier": {"barrier": True, "sends": "serial"},
    "tree": {"all_reduce": "tree"},
    "overlap": {"overlap": True},
}
METHODS = ("dsgd", "merged", "two_phase")


def random_network(seed, num_nodes, **variant):
    """Costs over three orders of magnitude, and nodes of different speeds."""
    rng = np.random.default_rng(seed)
    shape = (num_nodes, num_nodes)
    return tele.Network(
        network.matrices(
            10 ** rng.uniform(-3, 0, shape), 10 ** rng.uniform(1, 4, shape)
        ),
        network.log_normal(10 ** rng.uniform(-2, 0.5, num_nodes), 0.7),
        **variant,
    )


def method(name, topology):
    if name == "dsgd":
        return tele.DSGD(topology, 0.1), topology.num_slots
    return tele.Teleportation(topology, 0.1, fetch=name), N


def _task(num_nodes):
    return tele.tasks.least_squares(jax.random.key(0), num_nodes=num_nodes, dim=3)


def timed(algorithm, net, num_nodes, num_rounds):
    """A run with clocks, of models of 12 bytes."""
    return tele.simulate(
        tele.Timed(algorithm, net),
        _task(num_nodes),
        jnp.ones(3),
        KEY,
        num_rounds=num_rounds,
    )


def oracle(name, topology, net, num_nodes, num_rounds):
    """The same by events: the time at the end of every round."""
    rules = events.Rules(
        latency=np.asarray(net.links.latency, np.float64).tolist(),
        transfer=(12 / np.asarray(net.links.bandwidth, np.float64)).tolist(),
        serial=net.sends == "serial",
        half=net.duplex == "half",
        barrier=net.barrier,
        overlap=net.overlap,
        tree=net.all_reduce == "tree",
    )
    rounds = schedule(name, topology, net, num_nodes, num_rounds)
    return np.array(events.simulate(rounds, rules))


def schedule(name, topology, net, num_nodes, num_rounds):
    """Who does what, from the mixing matrices and the draws."""

    @jax.vmap
    def of_round(t):
        key = jax.random.fold_in(KEY, t)
        nodes = draw_active(jax.random.split(key)[1], num_nodes, topology.num_slots)
        if name == "dsgd":
            nodes = jnp.arange(num_nodes)
        return nodes, net.compute.of(jax.random.fold_in(key, 2), nodes)

    all_nodes, seconds = (x.tolist() for x in of_round(jnp.arange(num_rounds)))
    exchanges = _exchanges(topology, num_rounds)
    rounds = []
    for t, nodes in enumerate(all_nodes):
        one = events.Round(nodes, seconds[t], [])
        if name != "dsgd":
            one.source = all_nodes[t - 1] if t else nodes
        if name != "merged":
            one.gossips = exchanges[t]
        elif t:
            *one.gathers, one.pull = exchanges[t - 1]
            if one.pull == "all":
                one.gathers, one.pull = [*one.gathers, "all"], None
        rounds.append(one)
    return rounds


def _exchanges(topology, num_rounds):
    """Of every round, a list of gossips: pairs of slots, or "all"."""
    times = getattr(topology, "times", 1)
    inner = getattr(topology, "topology", topology) if times > 1 else topology
    if isinstance(inner, type(TOPOLOGIES["complete"])):
        return [["all"]] * num_rounds
    matrices = tele.to_matrices(inner, num_rounds * times)
    pairs = [[(b, a) for b, a in np.argwhere(w).tolist()] for w in matrices]
    return [pairs[times * t : times * (t + 1)] for t in range(num_rounds)]


def cases():
    """Every topology, every method and every variant, not all with each other."""
    usual = [name for name in VARIANTS if name not in ("tree", "overlap")]
    chosen = [
        (topology, usual[i % len(usual)], METHODS[i % len(METHODS)])
        for i, topology in enumerate(TOPOLOGIES)
    ]
    chosen += [("complete", "tree", "merged"), ("push", "overlap", "dsgd")]
    return [*chosen, ("twice", "serial", "merged"), ("ring", "half", "two_phase")]


def all_cases():
    return [
        (topology, variant, name)
        for topology, variant, name in itertools.product(TOPOLOGIES, VARIANTS, METHODS)
        if variant != "overlap" or name == "dsgd"
    ]


def assert_clocks(topology, variant, name, *, seeds, num_rounds):
    algorithm, num_nodes = method(name, TOPOLOGIES[topology])
    for seed in seeds:
        net = random_network(seed, num_nodes, **VARIANTS[variant])
        run = timed(algorithm, net, num_nodes, num_rounds)
        expected = oracle(name, TOPOLOGIES[topology], net, num_nodes, num_rounds)
        found = tele.metrics.elapsed(run.info)
        chex.assert_trees_all_close(found, expected, rtol=1e-6)
        now = np.float64(run.state.now.high) + np.float64(run.state.now.low)
        chex.assert_trees_all_close(now, expected[-1], rtol=1e-6)


@pytest.mark.parametrize(("topology", "variant", "name"), cases())
def test_clocks_are_those_of_a_discrete_event_simulation(topology, variant, name):
    assert_clocks(topology, variant, name, seeds=range(3), num_rounds=30)


@pytest.mark.slow
@pytest.mark.parametrize(("topology", "variant", "name"), all_cases())
def test_clocks_of_fifty_networks_are_those_of_events(topology, variant, name):
    jax.clear_caches()  # of all cases together a process could not hold the programs
    assert_clocks(topology, variant, name, seeds=range(50), num_rounds=100)
    assert_clocks(topology, variant, name, seeds=[50], num_rounds=10_000)


def test_no_time_is_lost_to_rounding_over_four_thousand_rounds():
    assert_clocks("ring", "parallel", "dsgd", seeds=[0], num_rounds=4_000)


@pytest.mark.parametrize("name", METHODS)
def test_clocks_change_no_iterate(name):
    topology = TOPOLOGIES["base"]
    algorithm, num_nodes = method(name, topology)
    momentum = algorithm.replace(direction=helpers.MOMENTUM)
    net = random_network(0, num_nodes, sends="serial")
    run = timed(momentum, net, num_nodes, 40)
    plain = tele.simulate(momentum, _task(num_nodes), jnp.ones(3), KEY, num_rounds=40)
    chex.assert_trees_all_equal(run.state.inner, plain.state)
    chex.assert_trees_all_equal(run.metrics, plain.metrics)
    chex.assert_trees_all_equal(run.info.loss, plain.info.loss)
    chex.assert_trees_all_equal(run.info.messages, plain.info.messages)


ALIKE = {"latency": 0.25, "transfer": 0.5, "compute": 2.0}
"""Seconds."""


@pytest.mark.parametrize(
    ("name", "variant", "expected"),
    [
        ("dsgd", {}, 2.75),
        ("dsgd", {"sends": "serial"}, 3.25),  # two receivers
        ("dsgd", {"duplex": "half"}, 3.0),  # what came during 0.5 s is read after it
        ("dsgd", {"sends": "serial", "duplex": "half"}, 3.5),
        ("dsgd", {"overlap": True}, 2.0),  # sending takes 0.75, computing is longer
        ("dsgd", {"barrier": True}, 2.75),
        ("merged", {}, 2.75),
        ("two_phase", {}, 3.5),
    ],
)
def test_with_all_costs_equal_a_round_has_a_closed_form(name, variant, expected):
    algorithm, _ = method(name, graphs.ring(8))
    num_nodes = 8 if name == "dsgd" else 10_000  # nobody is drawn twice running
    net = tele.Network(
        network.same(ALIKE["latency"], 12 / ALIKE["transfer"]),
        network.constant(ALIKE["compute"]),
        **variant,
    )
    seconds = timed(algorithm, net, num_nodes, 6).info.seconds
    chex.assert_trees_all_close(seconds[1:], jnp.full(5, expected), rtol=1e-6)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        # 0 - 1 - 2 compute for 1, 4, 2 s; 12 bytes take 1 s, and 0.5 s on the way.
        # 0: max(1, 4 + 1.5), 1: max(1 + 1.5, 4, 2 + 1.5), 2: max(4 + 1.5, 2).
        ({}, [5.5, 4.0, 5.5]),
        # 1 sends to 0, then to 2, and is done when both messages have left.
        ({"sends": "serial"}, [5.5, 6.0, 6.5]),
        # 1 has sent both at 5, and only then takes those of 0 and 2 off the wire.
        ({"duplex": "half"}, [5.5, 6.0, 5.5]),
        ({"sends": "serial", "duplex": "half"}, [5.5, 7.0, 6.5]),
        ({"barrier": True}, [5.5, 5.5, 5.5]),
    ],
)
def test_three_nodes_by_hand(variant, expected):
    net = tele.Network(
        network.same(0.5, 12.0), network.constant([1.0, 4.0, 2.0]), **variant
    )
    run = timed(tele.DSGD(graphs.chain(3), 0.1), net, 3, 1)
    assert run.state.free.high.tolist() == expected
    assert float(run.info.bytes[0]) == 4 * 12


def test_a_walk_between_three_nodes_by_hand():
    net = tele.Network(
        network.matrices(
            [[0.0, 1.0, 2.0], [3.0, 0.0, 4.0], [5.0, 6.0, 0.0]], np.full((3, 3), 12.0)
        ),
        network.constant([0.1, 0.2, 0.4]),
    )
    walk = tele.Teleportation(graphs.complete(1), 0.1)
    run = timed(walk, net, 3, 50)

    def holder(t):
        key = jax.random.split(jax.random.fold_in(KEY, t))[1]
        return int(draw_active(key, 3, 1)[0])

    path = [holder(t) for t in range(50)]
    latency = np.asarray(net.links.latency)
    hops = [latency[i, j] + 1 if i != j else 0 for i, j in itertools.pairwise(path)]
    took = np.array([0.0, *hops]) + np.array([0.1, 0.2, 0.4])[path]
    chex.assert_trees_all_close(run.info.seconds, jnp.float32(took), rtol=1e-5)
    assert run.info.bytes.tolist() == [0.0, *(12.0 * (hop > 0) for hop in hops)]


def test_a_node_finishes_one_token_before_it_takes_the_next():
    # k = n = 2 and no gossip: each node steps every token in turn, one slowly.
    net = tele.Network(network.same(0.0), network.constant([1.0, 10.0]))
    run = timed(tele.Teleportation(tele.from_matrices(np.eye(2)), 0.1), net, 2, 20)
    chex.assert_trees_all_close(run.state.now.high, jnp.float32(200.0), rtol=1e-6)


def test_costs_are_swept_by_vmap_and_compile_nothing_anew():
    ring = network.neighbours_of(graphs.ring(K))

    @jax.jit
    def seconds(slowdown, latency, speed):
        net = tele.Network(
            network.preferred(ring, slowdown, latency), network.constant(speed)
        )
        return timed(tele.Teleportation(TOPOLOGIES["ring"], 0.1), net, K, 20).info

    slowdowns = jnp.array([1.0, 5.0, 10.0])
    together = jax.vmap(seconds, (0, None, None))(slowdowns, 0.1, 1.0)
    before = seconds._cache_size()
    for i, slowdown in enumerate(slowdowns):
        alone = seconds(slowdown, jnp.float32(0.1), jnp.float32(1.0))
        chex.assert_trees_all_close(alone.seconds, together.seconds[i], rtol=1e-6)
    assert seconds._cache_size() <= before + 1
    assert (jnp.diff(together.seconds.sum(axis=1)) > 0).all()


def test_a_timed_run_is_resumed_bit_by_bit():
    algorithm, num_nodes = method("merged", TOPOLOGIES["base"])
    net = random_network(1, num_nodes)
    whole = timed(algorithm, net, num_nodes, 30)
    run = timed(algorithm, net, num_nodes, 12)
    further = tele.simulate(
        tele.Timed(algorithm, net),
        _task(num_nodes),
        jnp.ones(3),
        KEY,
        num_rounds=18,
        resume=run,
    )
    chex.assert_trees_all_equal(tele.concatenate(run, further).info, whole.info)
    chex.assert_trees_all_equal(further.state, whole.state)


def test_a_million_nodes_cost_what_the_active_ones_do():
    n, k = 10**6, 64
    links = network.clusters(
        np.full(4, n // 4), np.full((4, 4), 0.1), np.full((4, 4), 1e3)
    )
    net = tele.Network(links, network.log_normal(1.0, 0.5))
    timed_ = tele.Timed(tele.Teleportation(graphs.exponential(k), 0.1), net)
    run = tele.simulate(timed_, network.Still(n), jnp.float32(0.0), KEY, num_rounds=20)
    assert bool((run.info.seconds > 0.1).all())
    # There are two numbers for every node, and only k of them are written.
    traced = jax.make_jaxpr(
        lambda state: timed_.step(KEY, state, network.Still(n), jnp.int32(1))
    )(run.state)
    large = [
        equation.primitive.name
        for equation in traced.jaxpr.eqns
        if any(n in var.aval.shape for var in equation.outvars)
    ]
    assert large == ["scatter", "scatter"]


@struct.dataclass
class Silent:
    """An algorithm that does not say what it sends."""

    def step(self, key, state, task, t):
        """Nothing."""


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda net: tele.Timed(tele.DSGD(graphs.ring(5), 0.1), net),
            "Timed: got links for 8 nodes, expected 5",
        ),
        (
            lambda net: tele.Timed(
                tele.DSGD(graphs.ring(5), 0.1),
                net.replace(links=network.same(), compute=network.constant([1.0])),
            ),
            "Timed: got compute for 1 nodes, expected 5",
        ),
        (
            lambda net: tele.Timed(
                tele.Teleportation(graphs.ring(3), 0.1), net.replace(overlap=True)
            ),
            "Timed: Teleportation moves its models",
        ),
        (
            lambda net: tele.Timed(tele.DSGD(graphs.ring(5), 0.1), net.links),
            "Timed: got Matrices as network, expected",
        ),
        (
            lambda net: tele.Timed(Silent(), net),
            "Timed: Silent does not say what it sends",
        ),
        (
            lambda net: tele.Timed(graphs.ring(5), net),
            "Timed: got Periodic, which has no step, expected an algorithm",
        ),
        (lambda net: tele.Timed(tele.DSGD, net), "Timed: got the class DSGD"),
        (
            lambda net: tele.Timed(
                tele.Timed(tele.DSGD(graphs.ring(5), 0.1), net), net
            ),
            "Timed: got an algorithm that is Timed already",
        ),
        (
            lambda net: tele.Timed(
                tele.DSGD(graphs.ring(5), 0.1), net.replace(compute=1.0)
            ),
            "Network: got float as compute, expected such as network.constant",
        ),
        (
            lambda net: tele.Timed(
                tele.DSGD(graphs.ring(5), 0.1), net.replace(links=0.1)
            ),
            "Network: got float as links, expected such as network.same",
        ),
        (
            lambda net: tele.Timed(
                tele.DSGD(graphs.ring(5), 0.1), net.replace(model_bytes=0.0)
            ),
            "Network: got model_bytes=0, expected a finite number of more than 0",
        ),
        (
            lambda net: tele.Timed(
                tele.DSGD(graphs.ring(5), 0.1),
                net.replace(links=network.by_rule(lambda i, j: 0.1 if i < j else 1.0)),
            ),
            "by_rule: the function fails on arrays of nodes .*jnp.where in place of if",
        ),
        (
            lambda net: tele.Timed(
                tele.UnreliableDSGD(
                    graphs.ring(5),
                    0.1,
                    tele.Failures(compute=network.constant(2.0), timeout=3.0),
                ),
                net,
            ),
            "UnreliableDSGD: got a compute in failures that is not the network's",
        ),
        (
            lambda net: tele.UnreliableDSGD(graphs.ring(5), 0.1, tele.Failures(0.1)),
            "UnreliableDSGD: got float as crashes, expected such as network.outages",
        ),
        (
            lambda net: tele.Timed(
                tele.DSGD(graphs.ring(5), 0.1), net.replace(sends="one by one")
            ),
            'Network: got sends=\'one by one\', expected "parallel" or "serial"',
        ),
        (
            lambda net: tele.Timed(tele.DSGD(0.1, graphs.ring(5)), net),
            "DSGD: got a float as topology",
        ),
    ],
)
def test_bad_input_is_told_before_any_round(build, words):
    links = network.matrices(np.zeros((8, 8)), np.ones((8, 8)))
    net = tele.Network(links, network.constant(1.0))
    if "Network" in words or "moves" in words:
        net = net.replace(links=network.same())
    with pytest.raises(ValueError, match=words):
        tele.simulate(build(net), _task(5), jnp.ones(3), KEY, num_rounds=2)


@pytest.mark.parametrize(
    ("costs", "words"),
    [
        ((-1.0, 1e6), "by_rule: got latency=-1 among them, expected"),
        ((np.nan, 1e6), "by_rule: got latency=nan among them"),
        ((0.1, -10.0), "by_rule: got bandwidth=-10 among them, expected more than 0"),
    ],
)
def test_a_rule_with_costs_that_are_none_is_told(costs, words):
    net = tele.Network(network.by_rule(lambda i, j: costs), network.constant(1.0))
    with pytest.raises(ValueError, match=words):
        timed(tele.DSGD(graphs.ring(5), 0.1), net, 5, 2)


def test_a_still_task_wants_one_number_and_nodes():
    with pytest.raises(ValueError, match=r"Still: got num_nodes=2\.5"):
        network.Still(2.5)
    method = tele.DSGD(graphs.ring(5), 0.1)
    with pytest.raises(ValueError, match=r"Still: got params of shape \(3,\)"):
        tele.simulate(method, network.Still(5), jnp.ones(3), KEY, num_rounds=2)


def test_model_bytes_are_those_of_a_model_of_that_size():
    small = tele.Network(
        network.same(0.5, 12.0), network.constant(1.0), model_bytes=24.0
    )
    large = small.replace(links=network.same(0.5, 6.0), model_bytes=None)
    method = tele.DSGD(graphs.ring(5), 0.1)
    infos = [timed(method, net, 5, 3).info for net in (small, large)]
    assert infos[0].seconds.tolist() == infos[1].seconds.tolist() == [3.5] * 3
    assert infos[0].bytes.tolist() == (2 * infos[1].bytes).tolist() == [240.0] * 3


def test_bytes_of_a_model_may_be_beyond_32_bits():
    method = tele.DSGD(graphs.ring(5), 0.1)
    for given in (7_000_000_000, np.int64(7_000_000_000)):
        net = tele.Network(
            network.same(0.0, 1e9), network.constant(1.0), model_bytes=given
        )
        info = timed(method, net, 5, 1).info
        chex.assert_trees_all_close(float(info.seconds[0]), 8.0, rtol=1e-6)
        chex.assert_trees_all_close(float(info.bytes[0]), 70e9, rtol=1e-6)


def test_a_run_without_clocks_has_no_elapsed_time():
    run = tele.simulate(
        tele.DSGD(graphs.ring(5), 0.1), _task(5), jnp.ones(3), KEY, num_rounds=2
    )
    assert run.info.seconds is None
    with pytest.raises(ValueError, match="elapsed: got a run without clocks"):
        tele.metrics.elapsed(run.info)


def test_stragglers_are_awaited_until_the_timeout_and_no_longer():
    compute = network.constant([1.0, 4.0, 2.0])
    net = tele.Network(network.same(0.5, 12.0), compute)
    failures = tele.Failures(compute=compute, timeout=3.0)
    run = timed(tele.UnreliableDSGD(graphs.chain(3), 0.1, failures), net, 3, 1)
    # 1 is in the middle and too late: 0 and 2 wait for 3 s, and it for nobody.
    assert run.state.free.high.tolist() == [3.0, 4.0, 3.0]
    assert float(run.info.bytes[0]) == 0


def test_the_dead_take_no_time():
    net = tele.Network(network.same(0.5, 12.0), network.constant([1.0, 4.0, 2.0]))
    down = tele.Failures(network.planned([0, 0, 0], [0, 9, 0]))
    run = timed(tele.UnreliableDSGD(graphs.chain(3), 0.1, down), net, 3, 4)
    assert run.state.free.high.tolist() == [4.0, 8.0, 8.0]


def test_who_comes_back_begins_when_the_others_are():
    net = tele.Network(network.same(), network.constant([1.0, 100.0, 1.0]))
    down = tele.Failures(network.planned([0, 0, 0], [0, 9, 0]))
    run = timed(tele.UnreliableDSGD(graphs.ring(3), 0.1, down), net, 3, 11)
    assert run.info.seconds.tolist() == [1.0] * 9 + [100.0, 100.0]


def test_an_all_reduce_begins_when_the_timeout_is_over():
    compute = network.constant([1.0, 1.0, 1.0, 100.0])
    net = tele.Network(network.same(1.25), compute)
    failures = tele.Failures(compute=compute, timeout=10.0)
    run = timed(tele.UnreliableDSGD(graphs.complete(4), 0.1, failures), net, 4, 1)
    # Three take part: 2 (3 − 1) steps of 1.25 s.
    assert run.state.free.high.tolist() == [15.0, 15.0, 15.0, 100.0]


@pytest.mark.parametrize("policy", ["respawn", "stale"])
def test_a_lost_token_is_fetched_from_who_still_has_it(policy):
    costs = np.arange(25.0).reshape(5, 5)
    net = tele.Network(
        network.matrices(costs, np.full((5, 5), np.inf)), network.constant(0.0)
    )
    down = network.planned([0, 0, 7, 0, 0], [0, 0, 8, 0, 0])
    method = tele.UnreliableTeleportation(
        tele.from_matrices(np.eye(2)), 0.1, tele.Failures(down), lost_token=policy
    )
    before, after = (timed(method, net, 5, rounds) for rounds in (7, 8))
    holders = before.state.inner.nodes
    assert 2 in holders.tolist(), "the seed has to let node 2 hold a token"
    (lost,) = np.flatnonzero(np.asarray(holders) == 2).tolist()
    source = holders[1 - lost] if policy == "respawn" else _before(method, net)[lost]
    to = after.state.inner.nodes[lost]
    start = float(before.state.free.high[source])
    arrives = start + (costs[source, to] if source != to else 0)
    expected = max(arrives, float(before.state.free.high[to]))
    chex.assert_trees_all_close(float(after.state.free.high[to]), expected, rtol=1e-6)


def _before(method, net):
    """Who held the tokens in the round before the last."""
    return timed(method, net, 5, 6).state.inner.nodes
