"""Every algorithm on every task becomes a program for CPU, CUDA and TPU."""

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tele_jax import devices
from tests import helpers
from tests.test_laws import FORMS

PLATFORMS = ("cpu", "cuda", "tpu")
NODES = 4


def _digits(model):
    digits = tele.tasks.datasets.digits()
    return _classification(digits, model)


def _blank_images(model):
    images = np.zeros((8, 28, 28, 1), np.uint8)
    labels = np.arange(8, dtype=np.int32)
    return _classification(
        tele.tasks.datasets.Dataset(images, labels, images, labels), model
    )


def _classification(dataset, model):
    size = len(dataset.train_labels)
    index = np.arange(size - size % NODES, dtype=np.int32).reshape(NODES, -1)
    sizes = np.full(NODES, index.shape[1], np.int32)
    split = tele.tasks.partition.Partition(index, sizes)
    built = tele.tasks.models.by_name(model, dataset.num_classes)
    task = tele.tasks.classification(dataset, split, built, batch_size=2)
    shape = jnp.zeros((1, *dataset.train_inputs.shape[1:]))
    return task, built.init(jax.random.key(0), shape)


def _logistic():
    task = tele.tasks.logistic_regression(
        jax.random.key(0),
        num_nodes=NODES,
        dim=3,
        samples_per_node=5,
        heterogeneity=1.0,
        l2=0.1,
        batch_size=2,
    )
    return task, jnp.ones(3)


def _equal_hessians():
    task = tele.tasks.equal_hessians(jax.random.key(0), num_nodes=NODES, dim=3)
    return task, jnp.ones(3)


TASKS = {
    "least_squares": lambda: (helpers.quadratic(NODES, noise=0.5), jnp.ones(3)),
    "equal_hessians": _equal_hessians,
    "logistic_regression": _logistic,
    "softmax": lambda: _digits("softmax"),
    "mlp": lambda: _digits("mlp"),
    "lenet": lambda: _blank_images("lenet"),
}


@pytest.fixture(autouse=True)
def _one_slot_at_a_time(monkeypatch):
    """Even small models then take the path that differs between platforms."""
    monkeypatch.setattr(devices, "_BYTES_AT_A_TIME", 1)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("algorithm", helpers.ALGORITHMS)
def test_a_run_is_exported_for_every_platform(algorithm, task):
    data, params = TASKS[task]()
    topology = tele.graphs.ring(NODES)

    def run(learning_rate, data, params, seed):
        built = helpers.ALGORITHMS[algorithm](topology, learning_rate)
        key = jax.random.key(seed)
        run = tele.simulate(built, data, params, key, num_rounds=2)
        return run.state.params, run.metrics, run.info

    arguments = (0.1, data, params, 0)
    exported = jax.export.export(jax.jit(run), platforms=PLATFORMS)(*arguments)
    assert exported.platforms == PLATFORMS
    promised = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    slots, _, info = promised
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * NODES), params)
    chex.assert_trees_all_equal_shapes_and_dtypes(slots, stacked)
    chex.assert_shape([info.loss, info.messages], (2,))
    if task == "least_squares":  # and it is the run itself
        chex.assert_trees_all_close(
            exported.call(*arguments), run(*arguments), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_gossip_is_exported_for_every_platform(form):
    topology = FORMS[form](NODES)
    slots = jnp.arange(topology.num_slots * 3.0).reshape(-1, 3)

    def gossip(slots, t):
        mixing = topology.at(t)
        return tele.gossip.mix(mixing, slots), tele.mixing.count_messages(mixing)

    exported = jax.export.export(jax.jit(gossip), platforms=PLATFORMS)(slots, 2)
    assert exported.platforms == PLATFORMS
    chex.assert_trees_all_close(
        exported.call(slots, 2), gossip(slots, 2), rtol=1e-5, atol=1e-6
    )
