"""Clocks against a discrete-event simulation, closed forms and three nodes by hand."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
        network.matrices(10 ** rng.uniform(-3, 0, shape), 10 ** rng.uniform(1, 4, shape)),
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
    for topology, variant, name in itertools.product(TOPOLOGIES, VARIANTS, METHODS):
        if variant == "overlap" and name != "dsgd":
            continue
        if variant == "tree" and topology != "complete":
            continue
        yield pytest.param(topology, variant, name, id=f"{topology}-{variant}-{name}")


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


@pytest.mark.parametrize(("topology", "variant", "name"), [*cases()])
def test_clocks_are_those_of_a_discrete_event_simulation(topology, variant, name):
    assert_clocks(topology, variant, name, seeds=range(3), num_rounds=30)
