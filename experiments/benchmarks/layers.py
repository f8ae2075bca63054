"""How near every layer of a network comes to what the device can do, by itself.

FLOPs. A layer with a kernel multiplies every number of it once for each of b examples
and P pixels that it gives, before a maximum over some of them: 2·|kernel|·b·P forward,
as many for the gradient of the kernel, and as many for that of the inputs, which a
network's first layer does not need. Normalisations have none.

Bytes. Forward a layer reads its inputs and parameters and writes its outputs; backward
it reads both and the outputs' gradient, and writes theirs: the inputs and parameters
three times, the outputs twice, as numbers of float32. A first layer reads its
parameters forward only, and its inputs have no gradient: each of them twice.

The least time is the FLOPs' at the device's speed or the bytes' at its bandwidth, the
longer one, measured in turns with the layer. A layer whose maps stay in a cache can be
faster than its bytes, and one by Winograd's convolution, on a CPU, than its FLOPs.
"""

import collections
import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from experiments.benchmarks import floors, measure, work
from experiments.benchmarks.convolving import of_slots
from experiments.benchmarks.measure import Record
from tele_jax.tasks import models

NETWORKS = {
    "MLP 784-200-200-10": (models.MLP((200, 200)), (28, 28)),
    "LeNet": (models.LeNet(), (28, 28)),
    "ResNet-20": (models.ResNet(), (32, 32, 3)),
    "VGG-11": (models.VGG11(), (32, 32, 3)),
}
"""Networks, and the shape of an image."""
_POOLED = {"_PooledConv": 4}
"""Layers that give the maximum of so many of their outputs."""
_STARTING = 1e-4
"""Seconds that an accelerator may take to start the few programs of a layer."""


class Layer(NamedTuple):
    """A layer with parameters of its own; equal ones take the same time."""

    module: nn.Module
    params: tuple[tuple[str, tuple[int, ...]], ...]
    """Names and shapes."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    is_first: bool

    @property
    def flops(self) -> int:
        """Forward and backward, for one slot."""
        kernel = dict(self.params).get("kernel")
        if kernel is None:
            return 0
        pooled = _POOLED.get(type(self.module).__name__, 1)
        products = math.prod(kernel[:-1]) * math.prod(self.outputs) * pooled
        return 2 * products * (2 if self.is_first else 3)

    @property
    def num_bytes(self) -> int:
        """Read and written, for one slot."""
        num_params = sum(math.prod(shape) for _, shape in self.params)
        times = 2 if self.is_first else 3
        both = num_params + math.prod(self.inputs)
        return 4 * (times * both + 2 * math.prod(self.outputs))


def layers(*, num_slots: int, pairs: int) -> list[Record]:
    """The least time of a layer, forward and backward, over the time that it takes.

    Every slot has its own parameters and images. On an accelerator a layer shall reach
    0.7 of what it can, if it is not over sooner than it can be started.
    """
    records = []
    for network, (module, image) in NETWORKS.items():
        found = layers_of(module, (work.BATCH_SIZE, *image))
        alike = collections.Counter(layer for _, layer in found)
        first_names = {layer: name for name, layer in reversed(found)}
        for layer, times in alike.items():
            told = {"network": network, "layer": first_names[layer], "times": times}
            records.append(told | _measured(layer, num_slots, pairs))
    return records


def layers_of(module: nn.Module, images: tuple[int, ...]) -> list[tuple[str, Layer]]:
    """The layers that have parameters, with their names, in the order of calls."""
    found: list[tuple[str, Layer]] = []

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        outputs, layer = call(*args, **kwargs), context.module
        own = layer.variables.get("params", {})
        has_own = own and not any(isinstance(leaf, Mapping) for leaf in own.values())
        if has_own and context.method_name == "__call__":
            params = tuple((name, leaf.shape) for name, leaf in own.items())
            bare = layer.clone(parent=None, name=None)
            kind = Layer(bare, params, args[0].shape, outputs.shape, not found)
            found.append(("/".join(layer.path), kind))
        return outputs

    with nn.intercept_methods(note):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(images))
    return found


def _measured(layer: Layer, num_slots: int, pairs: int) -> Record:
    key = jax.random.key(0)
    params = {
        name: jax.random.normal(key, (num_slots, *shape)) / math.sqrt(math.prod(shape))
        for name, shape in layer.params
    }
    maps = [
        jax.random.normal(key, (num_slots, *shape))
        for shape in (layer.inputs, layer.outputs)
    ]
    step = of_slots(functools.partial(gradients, layer), (params, *maps))
    ceiling, seconds = floors.in_turns(step, work.mesh(num_slots), pairs)
    flops, num_bytes = num_slots * layer.flops, num_slots * layer.num_bytes
    least = floors.floor_seconds(ceiling, flops, num_bytes, 0)
    record = {
        "GFLOP": flops / 1e9,
        "MB": num_bytes / 1e6,
        "GFLOP/s": flops / 1e9 / float(np.median(seconds)),
        "least, ms": float(np.median(least)) * 1e3,
        "measured, ms": float(np.median(seconds)) * 1e3,
        **measure.quotient(least, seconds),
    }
    if jax.default_backend() != "cpu" and np.median(least) > _STARTING:
        record = measure.judged(record, at_least=0.7)
    return record


def gradients(
    layer: Layer, params: Any, inputs: jax.Array, cotangent: jax.Array
) -> Any:
    """Outputs, and gradients of the parameters and, but in a first layer, the inputs.

    Without the outputs most layers would not go forward at all.
    """

    def forward(params: Any, inputs: jax.Array) -> Any:
        return layer.module.apply({"params": params}, inputs)

    if layer.is_first:
        outputs, pull = jax.vjp(lambda params: forward(params, inputs), params)
    else:
        outputs, pull = jax.vjp(forward, params, inputs)
    return outputs, *pull(cotangent)
