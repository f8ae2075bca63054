"""Local steps, and momentum that stays at the nodes, against float64 double loops."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tests import helpers, oracles
from tests.algorithms.test_teleportation import Counting

SEED, ROUNDS, RATE, DECAY = 3, 12, 0.1, 0.9


def nodes_and_noise(task, num_slots, local_steps):
    """Who steps, and the noise of every step, from the package's keys."""
    draw = oracles.draws(SEED, task.num_nodes, num_slots)

    @jax.jit
    def noise(t, node):
        key, _ = jax.random.split(jax.random.fold_in(jax.random.key(SEED), t))
        key = jax.random.fold_in(key, node)
        keys = [key]
        if local_steps > 1:
            keys = [jax.random.fold_in(key, j) for j in range(local_steps)]
        return jnp.stack([task.sample(key, node, None)[2] for key in keys])

    return draw, lambda t, node: np.asarray(noise(t, node), np.float64)


def double_loop(task, topology, method, memory, local_steps):
    """DSGD, or Algorithm 1 with momentum in a dict of tokens or of nodes."""
    scale, target = (np.asarray(a, np.float64) for a in (task.scale, task.target))
    matrices = tele.to_matrices(topology)
    size = matrices.shape[1]
    draw, noise = nodes_and_noise(task, size, local_steps)
    models = [np.ones(task.dim) for _ in range(size)]
    velocity = {}
    history = [models]
    for t in range(ROUNDS):
        active = range(size) if method == "dsgd" else draw(t)
        half = []
        for token, node in enumerate(active):
            x, owner = models[token], token if memory == "token" else node
            for xi in noise(t, node):
                gradient = scale[node] * (scale[node] * x - target[node]) + xi
                velocity[owner] = DECAY * velocity.get(owner, 0.0) + gradient
                x = x - RATE * velocity[owner]
            half.append(x)
        models = oracles.gossip(matrices[t % len(matrices)], half)
        history.append(models)
    return np.array(history)


@pytest.mark.parametrize("local_steps", [1, 3])
@pytest.mark.parametrize(("num_slots", "num_nodes"), [(1, 4), (4, 9), (5, 5)])
@pytest.mark.parametrize("memory", ["token", "node"])
def test_teleportation_is_the_double_loop(memory, num_slots, num_nodes, local_steps):
    task = helpers.quadratic(num_nodes, noise=0.5)
    topology = tele.graphs.base_graph(num_slots, 1)
    algorithm = tele.Teleportation(
        topology,
        RATE,
        direction=helpers.MOMENTUM,
        memory=memory,
        local_steps=local_steps,
    )
    expected = double_loop(task, topology, "teleportation", memory, local_steps)
    found = helpers.trajectory(algorithm, task, ROUNDS, SEED)
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("local_steps", [2, 3])
def test_dsgd_with_local_steps_is_the_double_loop(local_steps):
    task, topology = helpers.quadratic(5, noise=0.5), tele.graphs.ring(5)
    algorithm = tele.DSGD(
        topology, RATE, direction=helpers.MOMENTUM, local_steps=local_steps
    )
    expected = double_loop(task, topology, "dsgd", "token", local_steps)
    found = helpers.trajectory(algorithm, task, ROUNDS, SEED)
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-4)


def test_all_nodes_with_their_own_momentum_on_the_complete_graph_are_dsgd():
    """Law 5 beyond linear directions in token space: all models are equal there."""
    task, topology = helpers.quadratic(5, noise=0.5), tele.graphs.complete(5)
    options = {"direction": helpers.MOMENTUM, "local_steps": 2}
    teleportation = tele.Teleportation(topology, RATE, memory="node", **options)
    dsgd = tele.DSGD(topology, RATE, **options)
    found, expected = (
        helpers.trajectory(algorithm, task, ROUNDS, SEED)
        for algorithm in (teleportation, dsgd)
    )
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_run_with_momentum_at_the_nodes_is_resumed_bit_by_bit():
    task = helpers.quadratic(9, noise=0.5)
    algorithm = tele.Teleportation(
        tele.graphs.ring(4), RATE, direction=helpers.MOMENTUM, memory="node"
    )

    def run(num_rounds, resume=None):
        return tele.simulate(
            algorithm,
            task,
            jnp.ones(3),
            jax.random.key(SEED),
            num_rounds=num_rounds,
            resume=resume,
        )

    whole, further = run(12), run(6, run(6))
    chex.assert_trees_all_equal(further.state, whole.state)
    chex.assert_shape(jax.tree.leaves(whole.state.memory), (9, 3))


@pytest.mark.parametrize("slots_at_once", [1, 2, 3, 99])
@pytest.mark.parametrize("method", [tele.DSGD, tele.Teleportation])
def test_slots_in_microbatches_are_all_slots(method, slots_at_once):
    task = helpers.quadratic(5, noise=0.5)
    options = {"direction": helpers.MOMENTUM, "local_steps": 2}
    found, expected = (
        helpers.trajectory(
            method(tele.graphs.ring(5), RATE, slots_at_once=some, **options),
            task,
            ROUNDS,
            SEED,
        )
        for some in (slots_at_once, None)
    )
    chex.assert_trees_all_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", [tele.DSGD, tele.Teleportation])
def test_local_steps_count_their_draws(method):
    # Every draw adds 1 + count: 1 + 2 + … + 12 after 4 rounds of 3 steps.
    algorithm = method(tele.from_matrices(np.eye(1)), 1.0, local_steps=3)
    run = tele.simulate(
        algorithm, Counting(1), jnp.zeros(1), jax.random.key(SEED), num_rounds=4
    )
    chex.assert_trees_all_equal(run.state.params, jnp.full((1, 1), 78.0))
    if method is tele.Teleportation:
        assert run.state.draws.tolist() == [12]


def test_gradients_of_local_steps_are_counted():
    task = helpers.quadratic(8)
    for local_steps, expected in ((1, [0, 80]), (3, [0, 240])):
        algorithm = tele.DSGD(tele.graphs.ring(8), RATE, local_steps=local_steps)
        run = tele.simulate(
            algorithm, task, jnp.ones(3), jax.random.key(0), num_rounds=10
        )
        assert tele.tables.costs(run)["gradients"].tolist() == expected
    algorithm = tele.Teleportation(tele.graphs.ring(4), RATE, local_steps=3)
    run = tele.simulate(algorithm, task, jnp.ones(3), jax.random.key(0), num_rounds=10)
    assert tele.tables.costs(run)["gradients"].tolist() == [0, 120]


def test_nodes_that_were_down_go_on_where_their_draws_stopped():
    # A draw adds 1 + count to the node's own coordinate: x_i = 1 + 2 + … + draws_i.
    outages = tele.network.outages(jax.random.key(2), 0.5, duration=2)
    algorithm = tele.UnreliableDSGD(
        tele.from_matrices(np.eye(5)), 1.0, tele.Failures(outages)
    )
    run = tele.simulate(
        algorithm, Counting(5), jnp.zeros(5), jax.random.key(SEED), num_rounds=30
    )
    draws = run.state.draws
    assert 0 < int(draws.min()) < 30
    assert int(draws.sum()) == int(run.info.active.sum())
    chex.assert_trees_all_equal(
        jnp.diagonal(run.state.params), (draws * (draws + 1) / 2).astype(jnp.float32)
    )


def test_the_loss_of_local_steps_is_their_mean():
    # Losses −(1 + count)·x: x = 0, 1 and 3 before the steps of the first round.
    algorithm = tele.DSGD(tele.from_matrices(np.eye(1)), 1.0, local_steps=3)
    run = tele.simulate(
        algorithm, Counting(1), jnp.zeros(1), jax.random.key(SEED), num_rounds=1
    )
    expected = -(1 * 0 + 2 * 1 + 3 * 3) / 3
    chex.assert_trees_all_close(run.info.loss, jnp.array([expected]), rtol=1e-6)


def test_local_steps_take_their_time():
    net = tele.Network(tele.network.same(0.25), tele.network.constant(2.0))
    algorithm = tele.DSGD(tele.graphs.ring(4), RATE, local_steps=3)
    run = tele.simulate(
        tele.Timed(algorithm, net),
        helpers.quadratic(4),
        jnp.ones(3),
        jax.random.key(SEED),
        num_rounds=5,
    )
    chex.assert_trees_all_close(run.info.seconds, jnp.full(5, 3 * 2.0 + 0.25))


@pytest.mark.parametrize(
    ("method", "options", "match"),
    [
        (tele.DSGD, {"local_steps": 0}, "^DSGD: got local_steps=0, expected an"),
        (tele.DSGD, {"local_steps": 2.5}, "got local_steps=2.5, expected an integer"),
        (tele.DSGD, {"slots_at_once": 0}, "^DSGD: got slots_at_once=0, expected an"),
        (tele.Teleportation, {"local_steps": -1}, "^Teleportation: got local_steps=-1"),
        (tele.Teleportation, {"memory": "nodes"}, "got memory='nodes', expected \"tok"),
    ],
)
def test_wrong_options_are_refused(method, options, match):
    with pytest.raises(ValueError, match=match):
        tele.simulate(
            method(tele.graphs.ring(4), RATE, **options),
            helpers.quadratic(4),
            jnp.ones(3),
            jax.random.key(SEED),
            num_rounds=1,
        )
