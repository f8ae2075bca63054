"""Slots shared between devices: the numbers of one device, and who holds what."""

import gc
import weakref

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import tele_jax as tele
from tele_jax import _in_place, devices, processes
from tests import helpers
from tests.test_laws import FORMS

SLOTS, NODES = 8, 19


def _simulate(algorithm, graph, key, rate=0.3, **settings):
    num_nodes = NODES if algorithm.startswith("teleportation") else SLOTS
    task = helpers.quadratic(num_nodes, noise=0.5)
    return tele.simulate(
        helpers.ALGORITHMS[algorithm](helpers.GRAPHS[graph](SLOTS), rate),
        task,
        jnp.ones(3),
        key,
        **({"num_rounds": 6, "eval_every": 2} | settings),
    )


@pytest.mark.parametrize(
    ("algorithm", "graph", "num_devices"),
    [
        *((algorithm, "ring", 8) for algorithm in helpers.ALGORITHMS),
        # Three devices do not divide eight slots.
        *((algorithm, "ring", 3) for algorithm in helpers.ALGORITHMS),
        ("gradient_tracking", "complete", 4),
        ("teleportation_momentum", "complete", 8),
        ("dsgd_momentum", "one_peer_exponential", 4),
        ("teleportation", "one_peer_exponential", 8),
    ],
)
def test_devices_that_share_the_slots_compute_what_one_does(
    algorithm, graph, num_devices
):
    key = jax.random.key(1)
    alone = _simulate(algorithm, graph, key)
    with jax.set_mesh(tele.slot_mesh(num_devices)):
        shared = _simulate(algorithm, graph, key)
    chex.assert_trees_all_close(shared, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dim", [3, 600])
@pytest.mark.parametrize("form", FORMS)
def test_devices_share_every_form_of_gossip(form, dim, monkeypatch):
    monkeypatch.setattr(_in_place, "_BYTES", 1)  # three pieces of the longer models
    topology = FORMS[form](5 if form == "side by side" else SLOTS)
    task, key = helpers.quadratic(NODES, dim=dim), jax.random.key(1)

    def go():
        algorithm = tele.Teleportation(topology, 0.3)
        return tele.simulate(algorithm, task, jnp.ones(dim), key, num_rounds=6)

    assert topology.num_slots == SLOTS
    alone = go()
    with jax.set_mesh(tele.slot_mesh(8)):
        shared = go()
    chex.assert_trees_all_close(shared, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("algorithm", ["dsgd_momentum", "teleportation"])
def test_every_device_holds_its_own_slots(algorithm):
    mesh = tele.slot_mesh(4)
    with jax.set_mesh(mesh):
        state = _simulate(algorithm, "ring", jax.random.key(1)).state
    expected = jax.NamedSharding(mesh, jax.P("slots"))
    for leaf in jax.tree.leaves((state.params, state.memory)):
        assert leaf.sharding.is_equivalent_to(expected, leaf.ndim)
        assert leaf.addressable_shards[1].data.shape[0] == SLOTS // 4


def test_a_sweep_under_a_mesh_is_the_sweep():
    keys, rates = jax.random.split(jax.random.key(0), 2), jnp.array([0.1, 0.3, 0.5])

    def sweep():
        def run(key, rate):
            return _simulate("teleportation", "ring", key, rate)

        return jax.vmap(lambda key: jax.vmap(lambda rate: run(key, rate))(rates))(keys)

    alone = sweep()
    with jax.set_mesh(tele.slot_mesh(2)):
        shared = sweep()
    chex.assert_shape(shared.info.loss, (2, 3, 6))
    chex.assert_trees_all_close(shared, alone, rtol=1e-5, atol=1e-6)


def test_a_run_under_a_mesh_is_resumed_bit_by_bit_and_compiles_once():
    def go(rate, **settings):
        key = jax.random.key(1)
        return _simulate("dsgd", "ring", key, rate, eval_every=None, **settings)

    with jax.set_mesh(tele.slot_mesh(2)):
        whole = go(0.3, num_rounds=6)
        first = go(0.3, num_rounds=3)
        second = go(0.3, num_rounds=3, resume=first)
        with helpers.compilations() as compiled:
            again = go(0.2, num_rounds=3)
            go(0.1, num_rounds=3, resume=again)
    joined = tele.concatenate(first, second)
    chex.assert_trees_all_equal(joined.state, whole.state)
    chex.assert_trees_all_equal(joined.info, whole.info)
    assert compiled == []


def test_slots_are_evaluated_where_they_are():
    data = tele.tasks.datasets.digits()
    owners = tele.tasks.partition.iid(data.train_labels, num_nodes=SLOTS, seed=0)
    model = tele.tasks.models.by_name("softmax")
    task = tele.tasks.classification(data, owners, model, batch_size=4)
    params = jax.vmap(lambda key: model.init(key, task.inputs[:1]))(
        jax.random.split(jax.random.key(0), SLOTS)
    )

    def measure(params):
        return tele.metrics.each_slot(params, task)

    alone = jax.jit(measure)(params)
    with jax.set_mesh(tele.slot_mesh(4)):
        lowered = jax.jit(measure).lower(params)
        shared = lowered.compile()(params)
    chex.assert_trees_all_close(shared, alone, rtol=1e-6)
    assert float(alone["slot_accuracy_min"]) < float(alone["slot_accuracy_max"])
    assert "all-gather" not in lowered.compile().as_text()


@struct.dataclass
class Awkward:
    """A loss with a gradient of shared data and loops from constants inside."""

    points: jax.Array

    @property
    def num_nodes(self):
        return SLOTS

    def sample(self, key, node, count):
        del count
        return jax.random.normal(key, (3,)) + node

    def loss(self, params, batch):
        def potential(points):
            return jnp.sum(jnp.cos(points * params))

        def half(x, _):
            return x / 2 + batch, None

        slope = jax.grad(potential)(self.points)
        looped, _ = jax.lax.scan(half, jnp.zeros(3), length=3)
        chosen = jax.lax.cond(batch[0] > 3, lambda: looped, lambda: jnp.ones(3))
        return jnp.sum(slope**2) + jnp.sum((params - chosen) ** 2)


def test_a_loss_may_hold_gradients_loops_and_branches():
    task = Awkward(jnp.array([0.3, 0.5, 0.7]))

    def go():
        algorithm = tele.DSGD(tele.graphs.ring(SLOTS), 0.1)
        key = jax.random.key(0)
        return tele.simulate(algorithm, task, jnp.ones(3), key, num_rounds=5)

    alone = go()
    with jax.set_mesh(tele.slot_mesh(4)):
        shared = go()
    chex.assert_trees_all_close(shared, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("num_devices", [3, 4])
@pytest.mark.parametrize("algorithm", ["dsgd_momentum", "teleportation"])
def test_the_chunks_of_a_driven_run_share_one_program(algorithm, num_devices):
    def chunk(num_rounds, resume):
        settings = {"num_rounds": num_rounds, "eval_every": None, "resume": resume}
        return _simulate(algorithm, "ring", jax.random.key(1), **settings)

    with jax.set_mesh(tele.slot_mesh(num_devices)):
        start = chunk(0, None)
        chunk(5, start)
        with helpers.compilations() as compiled:
            chunk(5, chunk(5, start))
    assert compiled == []


@pytest.mark.parametrize("num_devices", [0, -1, 9])
def test_a_number_of_devices_that_do_not_exist_is_refused(num_devices):
    with pytest.raises(ValueError, match=f"num_devices={num_devices}, expected 1 to 8"):
        tele.slot_mesh(num_devices)


def test_more_devices_than_slots_compute_what_one_does():
    task, key = helpers.quadratic(10, noise=0.5), jax.random.key(0)

    def go():
        algorithm = tele.Teleportation(tele.graphs.complete(1), 0.1)
        return tele.simulate(algorithm, task, jnp.ones(3), key, num_rounds=4)

    alone = go()
    with jax.set_mesh(tele.slot_mesh(3)):
        shared = go()
    chex.assert_trees_all_close(shared, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("at_once", [None, 1, 2, 100])
def test_over_slots_is_a_loop_over_the_slots(at_once, monkeypatch):
    monkeypatch.setattr(devices, "_BYTES_AT_A_TIME", 8)  # two slots of a float32
    slots, shared = jnp.arange(1.0, 8.0), {"a": jnp.float32(3)}

    def function(shared, slot, nothing):
        assert nothing is None
        return shared["a"] * slot, slot**2

    result = devices.over_slots(function, shared, slots, None, at_once=at_once)
    np.testing.assert_allclose(result[0], 3 * np.arange(1, 8))
    np.testing.assert_allclose(result[1], np.arange(1, 8) ** 2)


def test_an_array_of_many_devices_keeps_no_copy_on_the_host():
    mesh = tele.slot_mesh(2)
    slots = jax.device_put(
        jnp.arange(8.0), jax.NamedSharding(mesh, jax.P(devices.AXIS))
    )
    found = processes.fetch(slots)
    np.testing.assert_array_equal(found, np.arange(8.0))
    copy = weakref.ref(found)
    del found
    gc.collect()
    assert copy() is None
