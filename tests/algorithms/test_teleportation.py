"""TELEPORTATION: messages, draws, fetch forms and refusals, counted in Python."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct

import tele_jax as tele
from tele_jax.algorithms.teleportation import TeleportationState
from tele_jax.draw import draw_active
from tests import helpers

SEED = 3
ROUNDS = 12


def _uneven(num_slots):
    """A ring, then no gossip, then all with all: degrees differ from round to round."""
    graphs = (tele.graphs.ring(num_slots), tele.graphs.complete(num_slots))
    ring, complete = (tele.to_matrices(graph)[0] for graph in graphs)
    return tele.from_matrices(np.array([ring, np.eye(num_slots), complete]))


TOPOLOGIES = {
    "ring": tele.graphs.ring(5),
    "one_peer": tele.graphs.one_peer_exponential(8),
    "uneven": _uneven(4),
    "single": tele.graphs.ring(1),
}
every_topology = pytest.mark.parametrize("name", TOPOLOGIES)


@functools.cache
def _run(name, num_nodes, **settings):
    topology = TOPOLOGIES[name]
    algorithm = tele.Teleportation(topology, 0.1, **settings)
    return tele.simulate(
        algorithm,
        helpers.quadratic(num_nodes, noise=0.5),
        jnp.ones(3),
        jax.random.key(SEED),
        num_rounds=ROUNDS,
        eval_every=1,
        observe=helpers.whole_state,
    )


@functools.cache
def _draws(num_nodes, num_slots):
    """The active nodes of every round, a list of lists."""

    def draw(t):
        _, network = jax.random.split(jax.random.fold_in(jax.random.key(SEED), t))
        return draw_active(network, num_nodes, num_slots)

    return np.asarray(jax.jit(jax.vmap(draw))(jnp.arange(ROUNDS))).tolist()


def _links(matrix):
    """(sender, receiver) of every non-zero weight, loops included."""
    return [tuple(link) for link in np.argwhere(matrix != 0).tolist()]


def _two_phase(matrices, nodes, t):
    gossiped = sum(b != a for b, a in _links(matrices[t % len(matrices)]))
    if t == 0:
        return gossiped
    pairs = zip(nodes[t - 1], nodes[t], strict=True)
    return gossiped + sum(before != now for before, now in pairs)


def _merged(matrices, nodes, t):
    if t == 0:
        return 0
    before, now = nodes[t - 1], nodes[t]
    links = _links(matrices[(t - 1) % len(matrices)])
    return sum(before[b] != now[a] for b, a in links)


@every_topology
@pytest.mark.parametrize("extra_nodes", [0, 3])
def test_messages_are_those_of_a_python_count(name, extra_nodes):
    topology = TOPOLOGIES[name]
    num_slots = topology.num_slots
    num_nodes = num_slots + extra_nodes
    matrices = tele.to_matrices(topology)
    nodes = _draws(num_nodes, num_slots)
    for fetch, count in (("two_phase", _two_phase), ("merged", _merged)):
        sent = _run(name, num_nodes, fetch=fetch).info.messages
        assert sent.dtype == jnp.int32
        assert sent.tolist() == [count(matrices, nodes, t) for t in range(ROUNDS)]
        degree = max(np.count_nonzero(matrix, axis=0).max() for matrix in matrices)
        assert sent.max() <= num_slots * degree  # deg + 1 = the longest column


def test_merged_messages_are_the_default():
    merged = _run("ring", 8, fetch="merged")
    chex.assert_trees_all_equal(_run("ring", 8).info, merged.info)


def test_all_nodes_on_one_slot_send_nothing():
    for fetch in ("two_phase", "merged"):
        assert not _run("single", 1, fetch=fetch).info.messages.any()


@every_topology
def test_both_forms_of_fetch_have_the_same_iterates(name):
    topology = TOPOLOGIES[name]
    two_phase, merged = (
        _run(name, topology.num_slots + 3, fetch=fetch)
        for fetch in ("two_phase", "merged")
    )
    chex.assert_trees_all_equal(two_phase.metrics, merged.metrics)
    chex.assert_trees_all_equal(two_phase.state, merged.state)
    chex.assert_trees_all_equal(two_phase.info.loss, merged.info.loss)


def test_the_state_tells_who_holds_the_tokens():
    start = tele.Teleportation(TOPOLOGIES["ring"], 0.1).init(
        jnp.ones(3), helpers.quadratic(8)
    )
    assert isinstance(start, TeleportationState)
    assert start.nodes.tolist() == [-1] * 5
    assert start.draws is None
    nodes = _draws(8, 5)
    assert _run("ring", 8, fetch="merged").state.nodes.tolist() == nodes[-1]


@pytest.mark.parametrize("num_nodes", [1, 4])
def test_more_slots_than_nodes_are_refused(num_nodes):
    message = f"5 slots exceed the task's {num_nodes} nodes; choose k <= {num_nodes}"
    with pytest.raises(ValueError, match=f"Teleportation: {message}"):
        _run("ring", num_nodes)


def test_an_unknown_fetch_is_refused():
    with pytest.raises(ValueError, match="Teleportation: got fetch='pull', expected"):
        _run("ring", 9, fetch="pull")


def test_a_bool_in_the_direction_is_refused():
    direction = helpers.Partial(optax.trace, decay=0.9, nesterov=True)
    with pytest.raises(ValueError, match="Teleportation: got a direction with a bool"):
        _run("ring", 9, direction=direction)


@struct.dataclass
class Counting:
    """A step adds 1 + count to the coordinate of the node that drew."""

    num_nodes: int = struct.field(pytree_node=False)
    counts_draws = True

    @property
    def dim(self):
        return self.num_nodes

    def sample(self, key, node, count):
        del key
        return node, count

    def loss(self, params, batch):
        node, count = batch
        return -(1.0 + count) * params[node]


@pytest.mark.parametrize("num_slots", [1, 4])
def test_count_is_how_often_the_node_was_active_before(num_slots):
    task = Counting(7)
    topology = tele.from_matrices(np.eye(num_slots))
    algorithm = tele.Teleportation(topology, 1.0)
    slots = helpers.trajectory(algorithm, task, ROUNDS, SEED) - 1.0
    nodes = _draws(7, num_slots)
    before = [0] * 7
    for t in range(ROUNDS):
        expected = np.zeros((num_slots, 7))
        for slot, node in enumerate(nodes[t]):
            expected[slot, node] = 1 + before[node]
        for node in nodes[t]:
            before[node] += 1
        np.testing.assert_array_equal(slots[t + 1] - slots[t], expected)


def test_the_state_counts_draws_only_for_tasks_that_ask():
    algorithm = tele.Teleportation(tele.graphs.ring(3), 0.1)
    run = tele.simulate(
        algorithm, Counting(7), jnp.ones(7), jax.random.key(SEED), num_rounds=ROUNDS
    )
    nodes = _draws(7, 3)
    drawn = [node for t in range(ROUNDS) for node in nodes[t]]
    assert run.state.draws.tolist() == [drawn.count(node) for node in range(7)]
    assert _run("ring", 8, fetch="merged").state.draws is None
