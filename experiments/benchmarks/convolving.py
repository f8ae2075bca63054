"""Convolutions whose kernels differ from slot to slot, against one batched model's."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import tele_jax as tele
from experiments.benchmarks import measure, work
from experiments.benchmarks.measure import Record
from tele_jax import tree

LAYERS = {
    "ResNet-20, 16 maps of 32 x 32": (32, 16, 16),
    "ResNet-20, 64 maps of 8 x 8": (8, 64, 64),
    "VGG-11, 64 to 128 maps of 16 x 16": (16, 64, 128),
    "VGG-11, 256 maps of 8 x 8": (8, 256, 256),
    "VGG-11, 512 maps of 4 x 4": (4, 512, 512),
}
"""Edge of the maps, their number before and after; all kernels are 3 x 3."""

Convolution = Callable[..., jax.Array]


def convolving(*, num_slots: int, lenets: int, pairs: int) -> list[Record]:
    """Time of one model on all slots' images over that of one model for each slot.

    Both do the same convolutions: the output and the gradients for kernel and input.
    GFLOP/s count 2·9·H·W·C·O for each, products with padding included. One model's are
    one call of ``lax.conv`` on a device with all threads, not inside a loop, where
    XLA's CPU compiler is at its best. Ours step as ``simulate`` has them: shared
    between all devices, on a CPU one after the other on each.
    """
    layers = [_layer(name, num_slots, pairs) for name in LAYERS]
    return [*layers, _lenet(lenets, pairs)]


def kernels_and_inputs(layer: str, num_slots: int) -> tuple[jax.Array, jax.Array]:
    """Of every slot, of one of ``LAYERS``."""
    edge, maps, features = LAYERS[layer]
    keys = jax.random.split(jax.random.key(0), 2)
    shape = (num_slots, work.BATCH_SIZE, edge, edge, maps)
    kernels = jax.random.normal(keys[1], (num_slots, 3, 3, maps, features)) / maps
    return kernels, jax.random.normal(keys[0], shape)


def _layer(name: str, num_slots: int, pairs: int) -> Record:
    kernels, inputs = kernels_and_inputs(name, num_slots)
    record = _compared(
        partial(gradients, lax.conv_general_dilated),
        (kernels[0], inputs.reshape(-1, *inputs.shape[2:])),
        partial(gradients, tele.tasks.conv_general_dilated),
        (kernels, inputs),
        pairs,
    )
    edge, maps, features = LAYERS[name]
    products = 9 * edge**2 * maps * features * num_slots * work.BATCH_SIZE
    giga = 3 * 2 * products / 1e9
    speeds = {
        f"{who}, GFLOP/s": giga / record[f"{who}, s"] for who in ("one model", "ours")
    }
    return {"what": name, **speeds, **record}


def _lenet(num_slots: int, pairs: int) -> Record:
    net = work.lenet(group_norm=False)
    task: Any = work.table(num_slots, 1, net.model)
    batches = jax.tree.map(
        lambda leaf: leaf[:, : work.BATCH_SIZE], (task.images, task.labels)
    )
    record = _compared(
        jax.grad(task.replace(model=work.PlainLeNet()).loss),
        (
            work.plain_params(work.LENET),
            jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batches),
        ),
        jax.grad(task.loss),
        (tree.stack(net.params, num_slots), batches),
        pairs,
    )
    return {"what": "LeNet, all layers", **record}


def gradients(conv: Convolution, kernel: jax.Array, inputs: jax.Array) -> Any:
    """The kernel's gradient, and a sum of the input's, so that this is computed too."""

    def half_square(kernel: jax.Array, inputs: jax.Array) -> jax.Array:
        layout = ("NHWC", "HWIO", "NHWC")
        maps = conv(inputs, kernel, (1, 1), "SAME", dimension_numbers=layout)
        return 0.5 * jnp.sum(maps**2)

    of_kernel, of_inputs = jax.grad(half_square, argnums=(0, 1))(kernel, inputs)
    return of_kernel, jnp.sum(of_inputs**2)


def of_slots(one: Callable[..., Any], slots: tuple[Any, ...]) -> measure.Program:
    """Every device computes its slots, on a CPU one after the other."""
    num_slots = jax.tree.leaves(slots)[0].shape[0]
    mesh, own = work.mesh(num_slots), jax.P("slots")
    placed = jax.device_put(slots, jax.NamedSharding(mesh, own))

    @jax.jit
    @partial(jax.shard_map, in_specs=own, out_specs=own)
    def steps(slots: tuple[Any, ...]) -> Any:
        if jax.default_backend() == "cpu":
            return lax.map(lambda slot: one(*slot), slots)
        return jax.vmap(one)(*slots)

    return work.on(mesh, lambda: steps(placed))


def _compared(
    of_one: Callable[..., Any],
    one: tuple[Any, ...],
    of_slot: Callable[..., Any],
    slots: tuple[Any, ...],
    pairs: int,
) -> Record:
    batched, placed = jax.jit(of_one), jax.block_until_ready(one)
    ours = of_slots(of_slot, slots)
    seconds = measure.alternate(lambda: batched(*placed), ours, pairs)
    one_s, ours_s = np.median(seconds, axis=0)
    record = {
        "slots": jax.tree.leaves(slots)[0].shape[0],
        "one model, s": float(one_s),
        "ours, s": float(ours_s),
        **measure.quotient(seconds[:, 0], seconds[:, 1]),
    }
    return measure.judged(record, at_least=0.5)
