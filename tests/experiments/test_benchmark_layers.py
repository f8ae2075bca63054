"""The benchmark's table of layers: what it counts, and what it would measure."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import floors, layers, work
from tele_jax.tasks.models import MLP


@pytest.mark.parametrize(
    ("network", "name"),
    [("MLP 784-200-200-10", "mlp"), ("LeNet", "lenet"), ("VGG-11", "vgg11")],
)
def test_the_flops_of_layers_are_those_of_their_network(network, name):
    module, image = layers.NETWORKS[network]
    found = layers.layers_of(module, (32, *image))
    assert sum(layer.flops for _, layer in found) == 32 * floors.FLOPS[name]


def test_layers_are_named_and_their_bytes_counted():
    module, image = layers.NETWORKS["ResNet-20"]
    found = layers.layers_of(module, (2, *image))
    names = [name for name, _ in found]
    assert (len(names), names[:3]) == (43, ["conv", "norm", "stage1_block1/conv1"])
    first, norm, second = (layer for _, layer in found[:3])
    maps = 2 * 32 * 32 * 16
    # The first reads its images twice; what follows writes their gradient, too.
    assert first.num_bytes == 4 * (2 * 2 * 32 * 32 * 3 + 2 * 9 * 3 * 16 + 2 * maps)
    assert norm.num_bytes == 4 * (3 * maps + 3 * 2 * 16 + 2 * maps)
    assert (norm.flops, second.flops) == (0, 2 * 3 * maps * 9 * 16)
    assert second == found[4][1] != first


def test_every_kind_of_layer_is_measured_once(monkeypatch):
    ceiling = floors.Ceiling(flops=np.array([1e6]), bandwidth=np.array([1e6]))
    done = []

    def in_turns(step, mesh, pairs):
        done.append(jax.tree.map(jnp.shape, step()))
        return ceiling, np.array([0.02])

    networks = {"two": (MLP((3, 3)), (5,)), "three": (MLP((3, 3, 3)), (5,))}
    monkeypatch.setattr(layers, "NETWORKS", networks)
    monkeypatch.setattr(work, "BATCH_SIZE", 2)
    monkeypatch.setattr(floors, "in_turns", in_turns)
    rows = layers.layers(num_slots=4, pairs=1)
    told = [(row["network"], row["layer"], row["times"]) for row in rows]
    assert told[:3] == [("two", f"Dense_{i}", 1) for i in range(3)]
    often = [row[1:] for row in told[3:]]
    assert often == [("Dense_0", 1), ("Dense_1", 2), ("Dense_3", 1)]
    first = {"kernel": (4, 5, 3), "bias": (4, 3)}
    assert done[0] == ((4, 2, 3), first)
    assert done[1] == ((4, 2, 3), {"kernel": (4, 3, 3), "bias": (4, 3)}, (4, 2, 3))
    # Its 480 FLOPs would take 0.48 ms.
    least = 4 * 4 * (2 * 2 * 5 + 2 * (5 * 3 + 3) + 2 * 2 * 3) / 1e6
    assert rows[0]["least, ms"] == pytest.approx(1e3 * least)
    assert rows[0]["ratio"] == pytest.approx(least / 0.02)


def test_a_layer_has_the_gradients_of_its_network():
    found = layers.layers_of(MLP((3,)), (2, 5))
    (_, first), (_, last) = found
    params = {"kernel": jnp.ones((5, 3)), "bias": jnp.zeros(3)}
    _, of_first = layers.gradients(first, params, jnp.ones((2, 5)), jnp.ones((2, 3)))
    expected = {"kernel": jnp.full((5, 3), 2.0), "bias": jnp.full(3, 2.0)}
    chex.assert_trees_all_close(of_first, expected)
    params = {"kernel": jnp.ones((3, 10)), "bias": jnp.zeros(10)}
    *_, of_inputs = layers.gradients(last, params, jnp.ones((2, 3)), jnp.ones((2, 10)))
    chex.assert_trees_all_close(of_inputs, jnp.full((2, 3), 10.0))


@pytest.mark.parametrize("network", ["MLP 784-200-200-10", "LeNet"])
def test_a_layer_is_measured_with_all_of_its_products(network):
    module, image = layers.NETWORKS[network]
    for _, layer in layers.layers_of(module, (4, *image)):
        shapes = [dict(layer.params), layer.inputs, layer.outputs]
        arrays = jax.tree.map(jnp.zeros, shapes, is_leaf=lambda s: isinstance(s, tuple))
        step = jax.jit(partial(layers.gradients, layer)).lower(*arrays).compile()
        assert step.cost_analysis()["flops"] >= layer.flops
