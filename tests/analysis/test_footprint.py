"""The estimate of memory against XLA's count of the compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tele_jax as tele
from tele_jax.analysis import memory
from tests import helpers

NODES, PIXELS = 16, (28, 28, 1)


def _task(name, batch_size=32, **options):
    size = 50 * NODES
    labels = np.arange(size, dtype=np.int32) % 10
    images = np.zeros((size, *PIXELS), np.uint8)
    data = tele.tasks.datasets.Dataset(images, labels, images, labels)
    split = tele.tasks.partition.iid(labels, NODES, seed=0)
    model = tele.tasks.models.by_name(name, **options)
    task = tele.tasks.classification(data, split, model, batch_size=batch_size)
    return task, model.init(jax.random.key(0), data.train_inputs[:1])


@pytest.mark.parametrize(
    ("name", "options", "least"),
    [
        *[(name, {}, 0.85) for name in ("softmax", "mlp", "lenet", "mixer")],
        ("mixer", {"remat": True}, 0.45),
    ],
)
def test_the_estimate_is_near_what_xla_says(name, options, least, monkeypatch):
    task, params = _task(name, **options)
    algorithm = tele.DSGD(tele.graphs.ring(NODES), 0.1, direction=helpers.MOMENTUM)

    def run():
        return tele.simulate(
            algorithm,
            task,
            params,
            jax.random.key(0),
            num_rounds=2,
            observe=tele.metrics.each_slot,
        )

    found = helpers.rounds_program(run, monkeypatch).memory_analysis()
    counted = found.temp_size_in_bytes + found.output_size_in_bytes
    estimated = memory(algorithm, task, params, "cpu")
    assert least < counted / (estimated.total - estimated.data) < 1.25
    # The old models are where the new ones will be.
    assert found.alias_size_in_bytes >= 0.99 * estimated.state
    assert estimated.data == sum(leaf.nbytes for leaf in jax.tree.leaves(task))


def test_models_and_momentum_are_counted():
    task = tele.tasks.least_squares(jax.random.key(0), num_nodes=9, dim=100)
    adam = helpers.Partial(optax.scale_by_adam, b1=0.9)
    algorithm = tele.Teleportation(tele.graphs.ring(4), 0.1, direction=adam)
    found = memory(algorithm, task, jnp.ones(100), "gpu")
    # 4 models, 2 moments and a count each, and who holds the tokens.
    assert found.state == 4 * (4 * (3 * 100 + 1) + 4)
    at_node = algorithm.replace(memory="node")
    more = memory(at_node, task, jnp.ones(100), "gpu").state - found.state
    assert more == 4 * (9 - 4) * (2 * 100 + 1)


def test_slots_at_once_are_what_costs_activations():
    task, params = _task("lenet")
    algorithm = tele.DSGD(tele.graphs.ring(NODES), 0.1)
    on_cpu, on_gpu = (memory(algorithm, task, params, name) for name in ("cpu", "gpu"))
    assert (on_cpu.slots_at_once, on_gpu.slots_at_once) == (1, NODES)
    assert on_gpu.step == NODES * on_cpu.step
    fewer = memory(algorithm.replace(slots_at_once=1), task, params, "gpu")
    assert fewer.step * NODES == on_gpu.step
    timed = tele.Timed(
        algorithm.replace(slots_at_once=1),
        tele.Network(tele.network.same(0.1), tele.network.constant(1.0)),
    )
    assert memory(timed, task, params, "gpu").slots_at_once == 1
    with pytest.raises(ValueError, match="memory: got platform='cuda', expected"):
        memory(algorithm, task, params, "cuda")
    smaller, params = _task("lenet", batch_size=16)
    # Half the batch, so that on a CPU two slots fit into the cache in place of one.
    assert memory(algorithm, smaller, params, "cpu").slots_at_once == 2
    one = memory(algorithm.replace(slots_at_once=1), smaller, params, "cpu")
    assert 0.4 < one.step / on_cpu.step < 0.7
