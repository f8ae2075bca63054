"""The laws that every algorithm obeys on every graph, at every size.

A new algorithm needs one line in ``tests/helpers.py`` and its oracle in
``tests/oracles.py``; these tests then run on it.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tele_jax as tele
from tele_jax import tree
from tele_jax.algorithms import teleportation
from tele_jax.draw import draw_active
from tests import helpers, oracles

every_algorithm = pytest.mark.parametrize("algorithm", helpers.ALGORITHMS)
every_graph = pytest.mark.parametrize("graph", helpers.GRAPHS)
# Every graph is a program of its own here, so the fast tests take one for every way to
# gossip: gathers, a dense product, another topology each round.
FAST = ("ring", "complete", "one_peer_exponential")
every_path = pytest.mark.parametrize(
    "graph",
    [
        pytest.param(graph, marks=() if graph in FAST else pytest.mark.slow)
        for graph in helpers.GRAPHS
    ],
)
every_size = pytest.mark.parametrize("size", helpers.SIZES)

RATE = 0.3
SEED = 3


def build(algorithm, graph, size, learning_rate=RATE):
    topology = helpers.GRAPHS[graph](size)
    return helpers.ALGORITHMS[algorithm](topology, learning_rate), topology


@every_algorithm
@every_graph
@every_size
def test_law_1_agrees_with_the_papers_double_loop(algorithm, graph, size):
    built, topology = build(algorithm, graph, size)
    nodes = helpers.num_nodes(algorithm, topology.num_slots)
    task = helpers.quadratic(nodes, noise=0.5)
    got = helpers.trajectory(built, task, 5, SEED)
    matrices = tele.to_matrices(topology, 5)
    expected = oracles.trajectory(algorithm, matrices, task, 5, SEED, RATE)
    # Five rounds of float32 on numbers of order 1.
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


FORMS = {
    "senders choose": lambda k: tele.graphs.el_local(k, 2, jax.random.key(1)),
    "side by side": lambda k: tele.graphs.disjoint_union(
        tele.graphs.base_graph(3, 1), tele.graphs.complete(k)
    ),
    "three rounds per step": lambda k: tele.graphs.repeat(
        tele.graphs.one_peer_exponential(k), 3
    ),
    "new numbers every round": lambda k: tele.graphs.randomly_relabel(
        tele.graphs.star(k), jax.random.key(2)
    ),
    "one slot dead": lambda k: tele.graphs.restrict(
        tele.graphs.exponential(k), np.arange(k) != 1
    ),
}


@every_algorithm
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 5])
def test_law_1_holds_in_every_form_of_gossip(algorithm, form, size):
    topology = FORMS[form](size)
    built = helpers.ALGORITHMS[algorithm](topology, RATE)
    task = helpers.quadratic(helpers.num_nodes(algorithm, topology.num_slots))
    got = helpers.trajectory(built, task, 5, SEED)
    matrices = tele.to_matrices(topology, 5)
    expected = oracles.trajectory(algorithm, matrices, task, 5, SEED, RATE)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@every_algorithm
@every_graph
@every_size
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_law_2_a_round_keeps_shapes_and_dtypes(algorithm, graph, size, dtype):
    built, topology = build(algorithm, graph, size)
    task = helpers.quadratic(helpers.num_nodes(algorithm, topology.num_slots))
    state = built.init(jnp.ones(3, dtype), task)
    after, info = jax.eval_shape(built.step, jax.random.key(0), state, task, 0)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    chex.assert_shape(info, ())
    assert info.messages.dtype == jnp.int32


@every_algorithm
@every_graph
@every_size
def test_law_3_without_steps_disagreement_shrinks_as_the_contraction(
    algorithm, graph, size
):
    built, topology = build(algorithm, graph, size, learning_rate=0.0)
    task = helpers.quadratic(helpers.num_nodes(algorithm, topology.num_slots))
    num_rounds = topology.period or 3
    product = np.linalg.multi_dot(
        [
            np.eye(topology.num_slots),
            *tele.to_matrices(topology, num_rounds),
            np.eye(topology.num_slots),
        ]
    )
    # The direction that a period shrinks least: x ← x W shrinks it by √(1 − p).
    left, singular, _ = np.linalg.svd(product - 1 / topology.num_slots)
    worst = jnp.asarray(left[:, :1] * np.ones((1, 3)) + 5.0, jnp.float32)
    state = built.init(jnp.ones(3), task)._replace(params=worst)
    key = jax.random.key(SEED)
    for t in range(num_rounds):
        state = helpers.one_round(built, state, task, key, jnp.int32(t))
    chex.assert_trees_all_close(
        tree.average(state.params), tree.average(worst), rtol=1e-5
    )
    before = tree.consensus_distance(worst)
    shrunk = (1 - tele.contraction(topology, num_rounds=num_rounds)) * before
    np.testing.assert_allclose(shrunk, singular[0] ** 2 * before, atol=1e-6)
    np.testing.assert_allclose(
        tree.consensus_distance(state.params), shrunk, rtol=1e-3, atol=1e-6
    )


@every_algorithm
@pytest.mark.parametrize("size", [1, 5])
def test_law_4_without_gossip_slots_do_not_feel_each_other(algorithm, size):
    topology = tele.from_matrices(np.eye(size))
    built = helpers.ALGORITHMS[algorithm](topology, RATE)
    task = helpers.quadratic(helpers.num_nodes(algorithm, size), noise=0.5)
    together = helpers.trajectory(built, task, 4, SEED)
    gradient = oracles.gradients(task, SEED)
    drawn = oracles.draws(SEED, task.num_nodes, size)
    momentum = 0.9 if algorithm.endswith("_momentum") else 0.0
    for slot in range(size):
        model, velocity = np.ones(3), np.zeros(3)
        for t in range(4):
            teleports = algorithm.startswith("teleportation")
            node = drawn(t)[slot] if teleports else slot
            velocity = momentum * velocity + gradient(t, node, model)
            model = model - RATE * velocity
        np.testing.assert_allclose(together[-1, slot], model, rtol=1e-5, atol=1e-5)


@every_algorithm
@every_size
def test_law_5_on_the_complete_graph_all_slots_agree(algorithm, size):
    built, _ = build(algorithm, "complete", size)
    task = helpers.quadratic(helpers.num_nodes(algorithm, size), noise=0.5)
    slots = helpers.trajectory(built, task, 4, SEED)
    np.testing.assert_allclose(
        slots, np.broadcast_to(slots[:, :1], slots.shape), rtol=1e-6, atol=1e-6
    )


@every_size
@pytest.mark.parametrize("momentum", ["", "_momentum"])
def test_law_5_teleportation_of_all_nodes_is_all_reduce(size, momentum):
    # With momentum the tokens' memories differ but their mean does not: the
    # direction is linear in the gradient.
    task = helpers.quadratic(size, noise=0.5)
    ours, theirs = (
        helpers.trajectory(build(name + momentum, "complete", size)[0], task, 6, SEED)
        for name in ("teleportation", "dsgd")
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@every_algorithm
@every_graph
def test_law_6_relabelling_the_nodes_relabels_the_result(algorithm, graph, monkeypatch):
    built, topology = build(algorithm, graph, 8)
    task = helpers.quadratic(helpers.num_nodes(algorithm, 8))
    relabel = np.random.default_rng(0).permutation(task.num_nodes)
    back = np.argsort(relabel)
    # Node i of the task is node relabel[i] of the other.
    other = tele.tasks.quadratic(task.scale[back], task.target[back])
    slots_too = not algorithm.startswith("teleportation")
    rounds = range(2 * (topology.period or 2))

    def run(algorithm, task):
        state = algorithm.init(jnp.ones(3), task)
        for t in rounds:
            key = jax.random.fold_in(jax.random.key(SEED), t)
            state, _ = algorithm.step(key, state, task, jnp.int32(t))
        return np.asarray(state.params)

    expected = run(built, task)
    if slots_too:  # slots are nodes, so the topology is relabelled as well
        built = built.replace(topology=tele.graphs.relabel(topology, relabel))
        expected = expected[back]
    else:  # tokens keep their numbers; who holds them is relabelled

        def relabelled(*args):
            return jnp.asarray(relabel, jnp.int32)[draw_active(*args)]

        monkeypatch.setattr(teleportation, "draw_active", relabelled)
    np.testing.assert_allclose(run(built, other), expected, rtol=1e-5, atol=1e-5)


@every_algorithm
@every_path
def test_law_7_vmap_over_seeds_and_rates_is_a_loop(algorithm, graph):
    topology = helpers.GRAPHS[graph](8)
    task = helpers.quadratic(helpers.num_nodes(algorithm, 8), noise=0.5)

    def run(key, learning_rate):
        built = helpers.ALGORITHMS[algorithm](topology, learning_rate)
        return tele.simulate(built, task, jnp.ones(3), key, num_rounds=6, eval_every=3)

    keys = jax.random.split(jax.random.key(SEED), 2)
    rates = jnp.array([0.1, 0.4])
    swept = jax.vmap(jax.vmap(run, (None, 0)), (0, None))(keys, rates)
    for i, key in enumerate(keys):
        for j, rate in enumerate(rates):
            one = jax.tree.map(lambda leaf, i=i, j=j: leaf[i, j], swept)
            chex.assert_trees_all_close(one, run(key, rate), rtol=1e-4, atol=1e-6)


@every_algorithm
def test_law_9_a_new_number_or_a_rebuilt_object_compiles_nothing(algorithm):
    def run(seed, learning_rate, noise, **settings):
        build = helpers.ALGORITHMS[algorithm]
        built = build(tele.graphs.ring(8), learning_rate, **settings)
        task = helpers.quadratic(helpers.num_nodes(algorithm, 8), noise=noise)
        run = tele.simulate(
            built, task, jnp.ones(3), jax.random.key(seed), num_rounds=4, eval_every=2
        )
        again = tele.simulate(
            built,
            task,
            jnp.ones(3),
            jax.random.key(seed),
            num_rounds=4,
            eval_every=2,
            resume=run,
        )
        return jax.block_until_ready(again)

    settings = {}
    if algorithm.endswith("momentum"):
        settings = {"direction": helpers.Partial(optax.trace, decay=0.5)}
    run(0, 0.1, 0.5)
    with helpers.compilations() as compiled:
        run(1, 0.2, 1.0, **settings)
        run(2, jnp.float32(0.3), jnp.float32(2.0))
    assert compiled == []
    with helpers.compilations() as compiled:
        tele.simulate(
            helpers.ALGORITHMS[algorithm](tele.graphs.ring(8), 0.1),
            helpers.quadratic(helpers.num_nodes(algorithm, 8)),
            jnp.ones(3),
            jax.random.key(0),
            num_rounds=14,
        )
    assert compiled  # the counter does count


def test_law_9_a_new_key_of_a_random_topology_compiles_nothing():
    task = helpers.quadratic(8)

    def run(seed):
        matching = tele.graphs.random_matching(8, jax.random.key(seed))
        return tele.simulate(
            tele.DSGD(matching, RATE),
            task,
            jnp.ones(3),
            jax.random.key(0),
            num_rounds=4,
        )

    first = jax.block_until_ready(run(0))
    with helpers.compilations() as compiled:
        second = jax.block_until_ready(run(1))
    assert compiled == []
    assert not np.array_equal(first.state.params, second.state.params)


def test_law_9_the_user_example_compiles_one_program_per_k():
    def run(key, learning_rate, k, heterogeneity):
        task = tele.tasks.least_squares(
            jax.random.key(0), num_nodes=16, dim=4, heterogeneity=heterogeneity
        )
        algorithm = tele.Teleportation(tele.graphs.ring(k), learning_rate)
        return tele.simulate(
            algorithm, task, jnp.zeros(4), key, num_rounds=20, eval_every=5
        )

    def sweep(k, seed, rates, heterogeneity):
        seeds = jax.random.split(jax.random.key(seed), 5)
        over_rates = jax.vmap(run, in_axes=(None, 0, None, None))
        over_seeds = jax.vmap(over_rates, in_axes=(0, None, None, None))
        return jax.block_until_ready(over_seeds(seeds, rates, k, heterogeneity))

    sweep(4, 0, jnp.geomspace(1e-3, 1e-1, 8), 1.0)
    with helpers.compilations() as compiled:
        sweep(4, 1, jnp.geomspace(1e-2, 1.0, 8), 1.0)
        sweep(4, 2, jnp.geomspace(1e-2, 1.0, 8), 2.0)
    assert compiled == []


@pytest.mark.parametrize("size", [1, 2, 5, 8, 16])
@pytest.mark.parametrize("graph", ["ring", "one_peer_exponential", "complete"])
@pytest.mark.parametrize("extra_nodes", [0, 7])
def test_law_11_all_models_resident_gather_and_scatter_is_the_same(
    size, graph, extra_nodes
):
    topology = helpers.GRAPHS[graph](size)
    task = helpers.quadratic(size + extra_nodes, noise=0.5)
    slots = helpers.trajectory(tele.Teleportation(topology, RATE), task, 6, SEED)
    resident = jnp.ones((task.num_nodes, 3))
    drawn = oracles.draws(SEED, task.num_nodes, size)
    previous = np.array(drawn(0))
    for t in range(6):
        key, _ = jax.random.split(jax.random.fold_in(jax.random.key(SEED), t))
        active = np.array(drawn(t))
        mixing = helpers.at(topology, jnp.int32(t))
        resident = _resident_round(resident, previous, active, mixing, task, key)
        np.testing.assert_allclose(
            np.asarray(resident)[active], slots[t + 1], rtol=1e-5, atol=1e-6
        )
        previous = active


@helpers.jit_by_class
def _resident_round(resident, previous, active, mixing, task, key):
    """One round with a model on every node: fetch, step, gossip, each in its place."""
    resident = resident.at[active].set(resident[previous])

    def step(params, node):
        batch = task.sample(jax.random.fold_in(key, node), node, None)
        return params - RATE * jax.grad(task.loss)(params, batch)

    half = jax.vmap(step)(resident[active], active)
    return resident.at[active].set(tele.gossip.mix(mixing, half))
