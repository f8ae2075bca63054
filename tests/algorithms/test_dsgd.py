"""DSGD, and the local step that all methods share."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend.core import jaxprs_in_params

import tele_jax as tele
from tele_jax import devices
from tele_jax.algorithms import base
from tele_jax.tasks.base import batch_bytes
from tests import helpers, oracles
from tests.algorithms.test_teleportation import Counting

SEED = 3
ROUNDS = 6
METHODS = {"dsgd": tele.DSGD, "teleportation": tele.Teleportation}
every_method = pytest.mark.parametrize("method", METHODS)


def nesterov(decay):
    return optax.trace(decay, nesterov=True)


def adam(b1, b2):
    return optax.scale_by_adam(b1=b1, b2=b2)


def _run(algorithm, task, num_rounds=ROUNDS, resume=None):
    return tele.simulate(
        algorithm,
        task,
        jnp.ones(task.dim),
        jax.random.key(SEED),
        num_rounds=num_rounds,
        resume=resume,
    )


@pytest.mark.parametrize("graph", ["star", "exponential", "one_peer_exponential"])
def test_messages_are_the_links_of_the_graph(graph):
    topology = helpers.GRAPHS[graph](8)
    matrices = tele.to_matrices(topology)
    run = _run(tele.DSGD(topology, 0.1), helpers.quadratic(8))
    expected = []
    for t in range(ROUNDS):
        matrix = matrices[t % len(matrices)]
        links = np.argwhere(matrix != 0)
        expected.append(sum(j != i for j, i in links))
    assert run.info.messages.tolist() == expected


@pytest.mark.parametrize("num_slots", [4, 9])
def test_one_slot_per_node_is_demanded(num_slots):
    message = f"DSGD: got a topology of {num_slots} slots for a task of 8 nodes"
    with pytest.raises(ValueError, match=message):
        _run(tele.DSGD(tele.graphs.ring(num_slots), 0.1), helpers.quadratic(8))


def test_a_bool_in_the_direction_is_refused():
    direction = helpers.Partial(optax.trace, decay=0.9, nesterov=True)
    algorithm = tele.DSGD(tele.graphs.ring(8), 0.1, direction)
    with pytest.raises(ValueError, match="DSGD: got a direction with a bool"):
        _run(algorithm, helpers.quadratic(8))


def test_count_is_the_round():
    algorithm = tele.DSGD(tele.from_matrices(np.eye(4)), 1.0)
    slots = helpers.trajectory(algorithm, Counting(4), ROUNDS, SEED)
    for t in range(ROUNDS):
        np.testing.assert_array_equal(slots[t + 1] - slots[t], (1 + t) * np.eye(4))


@every_method
def test_the_loss_is_the_mean_over_slots_before_the_step(method):
    task = helpers.quadratic(6, noise=0.5)
    algorithm = METHODS[method](tele.graphs.ring(6), 0.1)
    slots = helpers.trajectory(algorithm, task, ROUNDS, SEED).astype(float)
    info = _run(algorithm, task).info
    drawn = oracles.draws(SEED, 6, 6)
    scale, target = (np.asarray(a, float) for a in (task.scale, task.target))
    for t in range(ROUNDS):
        data_key, _ = jax.random.split(jax.random.fold_in(jax.random.key(SEED), t))
        losses = []
        for slot, node in enumerate(range(6) if method == "dsgd" else drawn(t)):
            x = slots[t, slot]
            noise = task.sample(jax.random.fold_in(data_key, node), node, None)[2]
            residual = scale[node] * x - target[node]
            losses.append(0.5 * residual @ residual + np.asarray(noise, float) @ x)
        np.testing.assert_allclose(info.loss[t], np.mean(losses), rtol=1e-5, atol=1e-5)


@every_method
def test_a_schedule_is_a_loop_over_constants(method):
    task = helpers.quadratic(8, noise=0.5)
    topology = tele.graphs.one_peer_exponential(8)
    rates = jnp.array([0.5, 0.0, 0.3, 0.2, 0.1, 0.4])
    scheduled = _run(METHODS[method](topology, rates), task)
    looped = None
    for rate in rates:
        looped = _run(METHODS[method](topology, rate), task, 1, resume=looped)
    chex.assert_trees_all_close(scheduled.state, looped.state, rtol=1e-6)
    longer = jnp.append(rates, jnp.array([7.0, 8.0]))  # more than is needed is fine
    chex.assert_trees_all_equal(
        scheduled.state, _run(METHODS[method](topology, longer), task).state
    )


@every_method
def test_schedules_are_swept_by_vmap(method):
    task = helpers.quadratic(8, noise=0.5)
    rates = jnp.geomspace(0.01, 0.5, 2 * ROUNDS).reshape(2, ROUNDS)

    def run(schedule):
        return _run(METHODS[method](tele.graphs.ring(8), schedule), task).state.params

    swept = jax.vmap(run)(rates)
    for i in range(2):
        np.testing.assert_allclose(swept[i], run(rates[i]), rtol=1e-5, atol=1e-6)


def _alone(task, node, direction):
    """One node without gossip: x ← x − 0.3 · direction(gradient)."""
    gradient = oracles.gradients(task, SEED)
    x = np.ones(3)
    for t in range(ROUNDS):
        x = x - 0.3 * direction(t, gradient(t, node, x))
    return x


def _without_gossip(task, direction):
    algorithm = tele.DSGD(tele.from_matrices(np.eye(4)), 0.3, direction)
    return _run(algorithm, task).state


def test_nesterov_by_a_factory_at_module_level():
    task = helpers.quadratic(4, noise=0.5)
    state = _without_gossip(task, helpers.Partial(nesterov, decay=0.8))
    for node in range(4):
        velocity = np.zeros(3)

        def direction(t, gradient):
            nonlocal velocity
            velocity = 0.8 * velocity + gradient
            return 0.8 * velocity + gradient

        expected = _alone(task, node, direction)
        np.testing.assert_allclose(state.params[node], expected, rtol=1e-4, atol=1e-5)


def test_adam_and_its_integer_count():
    task = helpers.quadratic(4, noise=0.5)
    state = _without_gossip(task, helpers.Partial(adam, b1=0.8, b2=0.9))
    for node in range(4):
        first, second = np.zeros(3), np.zeros(3)

        def direction(t, gradient):
            nonlocal first, second
            first = 0.8 * first + 0.2 * gradient
            second = 0.9 * second + 0.1 * gradient**2
            root = np.sqrt(second / (1 - 0.9 ** (t + 1)))
            return first / (1 - 0.8 ** (t + 1)) / (root + 1e-8)

        expected = _alone(task, node, direction)
        np.testing.assert_allclose(state.params[node], expected, rtol=1e-4, atol=1e-5)
    assert state.memory.count.dtype == jnp.int32
    assert state.memory.count.tolist() == [ROUNDS] * 4


def test_a_swept_momentum_is_a_loop():
    task = helpers.quadratic(4, noise=0.5)

    def run(decay):
        return _without_gossip(task, helpers.Partial(optax.trace, decay=decay)).params

    swept = jax.vmap(run)(jnp.array([0.0, 0.9]))
    for i, decay in enumerate((0.0, 0.9)):
        np.testing.assert_allclose(swept[i], run(decay), rtol=1e-5, atol=1e-6)


def _scan_lengths(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            yield equation.params["length"]
        for inner in jaxprs_in_params(equation.params):
            yield from _scan_lengths(inner)


@pytest.mark.parametrize(
    ("num_slots", "slots_that_fit", "num_blocks"),
    [
        (8, 3, 4),  # 2 divides 8 and is over half of 3
        (7, 3, 2),  # two blocks of 3, and 1 slot apart
        (5, 0, 5),
        (8, 8, None),
    ],
)
def test_stepping_in_blocks_is_stepping_at_once(
    num_slots, slots_that_fit, num_blocks, monkeypatch
):
    task = helpers.quadratic(num_slots + 2, noise=0.5)
    slots = jax.random.normal(jax.random.key(4), (num_slots, 3))
    nodes = 1 + jnp.arange(num_slots, dtype=jnp.int32)
    memory = base.init_memory("test", helpers.MOMENTUM, slots)

    def outcome(num_bytes):
        def step(slots, memory):
            key, rate = jax.random.key(SEED), jnp.float32(0.3)
            return base.local_step(
                key, task, slots, memory, nodes, None, rate, helpers.MOMENTUM
            )

        monkeypatch.setattr(devices, "_BYTES_AT_A_TIME", num_bytes)
        program = jax.make_jaxpr(step)(slots, memory).jaxpr
        return jax.jit(step)(slots, memory), set(_scan_lengths(program))

    each = 12 + batch_bytes(task)  # three float32 and what the slot draws
    at_once, _ = outcome(10**9)
    in_blocks, lengths = outcome(each * slots_that_fit)
    assert lengths == (set() if num_blocks is None else {num_blocks})
    chex.assert_trees_all_close(in_blocks, at_once, rtol=1e-6, atol=1e-7)
    changed = np.abs(in_blocks.params - slots).max(axis=1)
    assert changed.min() > 1e-3  # every slot did step


def test_a_batch_may_hold_what_is_no_array():
    task = helpers.quadratic(4)

    class Named:
        num_nodes = 4

        def sample(self, key, node, count):
            return "node", task.sample(key, node, count)

        def loss(self, params, batch):
            return task.loss(params, batch[1])

    jax.tree_util.register_static(Named)
    algorithm = tele.DSGD(tele.graphs.ring(4), 0.1)
    found, plain = (
        tele.simulate(algorithm, each, jnp.ones(3), jax.random.key(0), num_rounds=3)
        for each in (Named(), task)
    )
    chex.assert_trees_all_equal(found.state.params, plain.state.params)
