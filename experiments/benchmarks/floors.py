"""How near a round comes to what the device can do, by FLOPs and bytes counted by hand.

FLOPs. A multiply-add is two. A dense layer from i features to o has i·o of them for an
image, a convolution K x K from c maps to o of P pixels P·K²·c·o, where products with
padding count. Both have as many again for the gradient of the kernel, and again for
that of the inputs, which a first layer does not need; with M of all layers and M₁ of
the first a gradient is 2 (3 M − M₁) FLOPs an image. Nothing else is counted: no bias,
ReLU, maximum, normalisation, softmax.

    softmax 784-10          7,840        = M = M₁                           31,360 FLOPs
    MLP 784-200-200-10      156,800 + 40,000 + 2,000                       879,200
    LeNet, images 28 x 28   24²·25·1·6 + 8²·25·6·16 + 256·120 + 120·84
                            + 84·10                                      1,517,040
    VGG-11, 32 x 32 x 3     32²·9·3·64 + 16²·9·64·128 + 8²·9·128·256
                            + 8²·9·256·256 + 4²·9·256·512 + 4²·9·512·512
                            + 2·2²·9·512·512 + 512·10                  913,078,272

Bytes. All slots take a step, and then gossip: twice all models are read and written, of
d float32 parameters 16 d bytes a slot. A step also reads a batch of images. Gradients,
activations and what the neighbours of a ring send are taken to stay in a cache.

The floor is the longer of a step's FLOPs at the device's speed and its bytes at its
bandwidth, and then the bytes of gossip. Speed and bandwidth are measured in turns with
the round: a product of two matrices on every device, and x + 1 of a long array in its
own place. A round can be faster than this where models fit a cache, or where Winograd's
convolutions, of which VGG-11 has five on a CPU, multiply less than is counted.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

import tele_jax as tele
from experiments.benchmarks import deep, measure, overhead, work
from experiments.benchmarks.measure import Program, Record
from experiments.neural_data import examples_in_cache
from tele_jax.devices import AXIS
from tele_jax.tasks import models

FLOPS = {
    "softmax": 31_360,
    "mlp": 879_200,
    "lenet": 1_517_040,
    "vgg11": 913_078_272,
}
"""Of the gradient for one image."""
_TIMES = 10
"""So often a long array is read and written by one program."""
_LARGE = 25
"""So many VGG-11 are a round's work for an accelerator, which has a target there."""


class Ceiling(NamedTuple):
    """What the device can do."""

    flops: np.ndarray
    """float64[pairs]: multiplications and additions of matrix products a second."""
    bandwidth: np.ndarray
    """float64[pairs]: bytes read or written a second."""


def floors(*, rounds: int, pairs: int) -> list[Record]:
    """The least time of a round of DSGD on a ring over the time that it takes.

    On accelerators 25 VGG-11 shall reach 0.35 of it, where FLOPs are nearly all of it.
    """
    records = []
    for name, module, num_nodes in (
        ("softmax", models.Softmax(), 1024),
        ("mlp", models.MLP((200, 200)), 64),
        ("lenet", models.LeNet(), 64),
    ):
        task = overhead.images(num_nodes, models.Linen(module))
        records.append(_compared(name, task, rounds, pairs))
    at_once = examples_in_cache("vgg11", work.BATCH_SIZE)
    task = deep.random_images(_LARGE, models.by_name("vgg11"), at_once)
    record = _compared("vgg11", task, 1, min(pairs, 5))
    if jax.default_backend() != "cpu":
        record = measure.judged(record, at_least=0.35)
    return [*records, record]


def _compared(name: str, task: Any, rounds: int, pairs: int) -> Record:
    num_nodes, mesh = task.num_nodes, work.mesh(task.num_nodes)
    task = work.everywhere(mesh, task)
    params = task.model.init(jax.random.key(0), task.inputs[:1])
    algorithm = tele.DSGD(tele.graphs.ring(num_nodes), work.LEARNING_RATE)
    simulate = partial(tele.simulate, algorithm, task, params, jax.random.key(1))
    program = partial(simulate, num_rounds=rounds, observe=work.nothing)
    ceiling, seconds = in_turns(work.on(mesh, program), mesh, pairs)
    images = num_nodes * work.BATCH_SIZE
    flops = FLOPS[name] * images
    models_bytes = 2 * num_nodes * tele.tree.num_bytes(params)
    step_bytes = models_bytes + task.inputs[:1].nbytes * images
    floor = floor_seconds(ceiling, flops, step_bytes, models_bytes)
    return {
        "model": name,
        "nodes": num_nodes,
        "GFLOP": flops / 1e9,
        "MB": (step_bytes + models_bytes) / 1e6,
        "device, GFLOP/s": float(np.median(ceiling.flops)) / 1e9,
        "device, GB/s": float(np.median(ceiling.bandwidth)) / 1e9,
        "floor, ms": float(np.median(floor)) * 1e3,
        "round, ms": float(np.median(seconds)) / rounds * 1e3,
        **measure.quotient(floor, seconds / rounds),
    }


def floor_seconds(
    ceiling: Ceiling, flops: float, step_bytes: float, gossip_bytes: float
) -> np.ndarray:
    """float64[pairs]: the least time of a round."""
    step = np.maximum(flops / ceiling.flops, step_bytes / ceiling.bandwidth)
    return step + gossip_bytes / ceiling.bandwidth


def in_turns(program: Program, mesh: Mesh, pairs: int) -> tuple[Ceiling, np.ndarray]:
    """What the device did in each turn, and the seconds of the program."""
    on_cpu = jax.default_backend() == "cpu"
    side, length = (1024, 2**25) if on_cpu else (8192, 2**28)
    matrices = _on_every_device(mesh, (side, side))
    held = [_on_every_device(mesh, (length,))]

    def add_often() -> jax.Array:
        held.append(_often_in_place(held.pop()))
        return held[0]

    programs = (
        partial(jax.jit(jnp.matmul), matrices, matrices),
        add_often,
        program,
    )
    for each in programs:
        jax.block_until_ready(each())
    seconds = np.array([[measure.seconds(p) for p in programs] for _ in range(pairs)])
    product, added, own = seconds.T
    work_done = mesh.size * 2 * side**3 / product
    return Ceiling(work_done, _TIMES * 2 * held[0].nbytes / added), own


@partial(jax.jit, donate_argnums=0)
def _often_in_place(array: jax.Array) -> jax.Array:
    """New memory is slow at its first use, so a program takes it once for many."""
    return jax.lax.fori_loop(0, _TIMES, lambda _, x: x + 1, array)


def _on_every_device(mesh: Mesh, shape: tuple[int, ...]) -> jax.Array:
    """Ones, float32[D, *shape], a row on every device."""
    ones: Any = jax.jit(
        lambda: jnp.ones((mesh.size, *shape), jnp.float32),
        out_shardings=jax.NamedSharding(mesh, jax.P(AXIS)),
    )
    return ones()
