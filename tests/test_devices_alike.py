"""Devices that share the slots: every graph, kind of algorithm, and a search."""

import chex
import jax
import jax.numpy as jnp
import pytest

import tele_jax as tele
from tests import helpers
from tests.graphs.families import BUILDERS

SLOTS, NODES = 8, 19
SEVERAL = {"direction": helpers.MOMENTUM, "local_steps": 2}


def failures():
    return tele.Failures(tele.network.outages(jax.random.key(2), 0.3, duration=2))


def network():
    return tele.Network(tele.network.same(latency=0.25), tele.network.constant(1.0))


KINDS = {
    "UnreliableDSGD": (SLOTS, lambda g: tele.UnreliableDSGD(g, 0.3, failures())),
    "UnreliableTeleportation": (
        NODES,
        lambda g: tele.UnreliableTeleportation(g, 0.3, failures()),
    ),
    "Timed": (SLOTS, lambda g: tele.Timed(tele.DSGD(g, 0.3), network())),
    "memory of the token": (NODES, lambda g: tele.Teleportation(g, 0.3, **SEVERAL)),
    "memory of the node": (
        NODES,
        lambda g: tele.Teleportation(g, 0.3, memory="node", **SEVERAL),
    ),
}
"""Name to a number of nodes and a topology to an algorithm."""


def simulate(algorithm, num_nodes):
    task = helpers.quadratic(num_nodes, noise=0.5)
    key = jax.random.key(1)
    return tele.simulate(algorithm, task, jnp.ones(3), key, num_rounds=6)


def alone_and_shared(run, num_devices=8):
    """On one device, and on several."""
    alone = run()
    with jax.set_mesh(tele.slot_mesh(num_devices)):
        return alone, run()


@pytest.mark.parametrize("graph", BUILDERS)
def test_devices_share_every_graph(graph):
    topology = BUILDERS[graph].build(2 * SLOTS)
    algorithm = tele.DSGD(topology, 0.3)
    alone, shared = alone_and_shared(lambda: simulate(algorithm, topology.num_slots))
    chex.assert_trees_all_close(shared, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("num_devices", [4, 8])
@pytest.mark.parametrize("name", KINDS)
def test_devices_share_every_kind_of_algorithm(name, num_devices):
    num_nodes, build = KINDS[name]
    algorithm = build(tele.graphs.ring(SLOTS))
    alone, shared = alone_and_shared(
        lambda: simulate(algorithm, num_nodes), num_devices
    )
    chex.assert_trees_all_close(shared, alone, rtol=1e-5, atol=1e-6)


def test_devices_share_a_search():
    task = helpers.quadratic(16, noise=0.5)

    def search():
        return tele.search(
            *(tele.graphs.ring, task, jnp.ones(3), jax.random.key(1), 0.1),
            num_rounds=6,
        )

    alone, shared = alone_and_shared(search)
    assert shared.waves == alone.waves
    chex.assert_trees_all_close(shared.scores, alone.scores, rtol=1e-5)
    chex.assert_trees_all_close(shared.best_model, alone.best_model, rtol=1e-5)
