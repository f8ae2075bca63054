"""What a round costs beyond its gradients."""

import sys
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tele_jax as tele
from experiments.benchmarks import measure, work
from experiments.benchmarks.measure import Program, Record
from tele_jax import tree
from tele_jax.devices import over_slots
from tele_jax.tasks.classification import Classification, classification
from tele_jax.tasks.datasets import Dataset
from tele_jax.tasks.models import LeNet, Linen, Softmax
from tele_jax.tasks.partition import Partition

BLOCKS = (1, 2, 4, 8, 16)
"""How many models a device may step at once in the gradients-only program."""
_MOST_IMAGES = 65_536
"""Images of all nodes together."""
_CASES = (
    ("LeNet", LeNet(group_norm=False), 64, 1.15),
    ("LeNet, GroupNorm", LeNet(), 64, 1.15),
    ("softmax regression", Softmax(), 1024, 1.3),
)
"""Networks, nodes, and what a round may take, in times of its gradients."""


def overhead(*, rounds: int, pairs: int) -> list[Record]:
    """A round of DSGD on a ring over the gradients that are in it.

    The other program draws no batches, keeps no losses and does not gossip: all it
    does is SGD steps on fixed batches, in blocks of whatever size is fastest. Nothing
    is evaluated.
    """
    return [
        measure.judged(
            {"model": name, **_of(Linen(module), num_nodes, rounds, pairs)},
            at_most=most,
        )
        for name, module, num_nodes, most in _CASES
    ]


def _of(model: Linen, num_nodes: int, rounds: int, pairs: int) -> Record:
    mesh = work.mesh(num_nodes)
    task = work.everywhere(mesh, images(num_nodes, model))
    algorithm = tele.DSGD(tele.graphs.ring(num_nodes), work.LEARNING_RATE)
    params = model.init(jax.random.key(2), task.inputs[:1])
    key = jax.random.key(0)

    def ours() -> Any:
        return tele.simulate(
            algorithm, task, params, key, num_rounds=rounds, observe=work.nothing
        )

    with jax.set_mesh(mesh):
        block, gradients = _fastest_gradients(task, params, rounds)
        seconds = measure.alternate(ours, gradients, pairs)
    own, alone = np.median(seconds, axis=0) / rounds * 1e3
    return {
        "nodes": num_nodes,
        "round, ms": float(own),
        "gradients only, ms": float(alone),
        "models at once": block,
        **measure.quotient(seconds[:, 0], seconds[:, 1]),
    }


def images(num_nodes: int, model: Linen) -> Classification:
    """Random images, as many for each node, on a task like a user's."""
    rng = np.random.default_rng(1)
    owned = min(work.NUM_EXAMPLES, _MOST_IMAGES // num_nodes)
    num_images = num_nodes * owned
    images = rng.normal(size=(num_images, 28, 28)).astype(np.float32)
    labels = rng.integers(0, 10, size=num_images)
    labels[:10] = np.arange(10)
    tested = slice(work.BATCH_SIZE)
    dataset = Dataset(images, labels, images[tested], labels[tested])
    index = np.arange(num_images).reshape(num_nodes, -1)
    return classification(
        dataset,
        Partition(index, np.full(num_nodes, owned)),
        model,
        batch_size=work.BATCH_SIZE,
    )


def _fastest_gradients(
    task: Classification, params: Any, rounds: int
) -> tuple[int, Program]:
    """The gradients-only program with the best block size, and that size."""
    nodes = jnp.arange(task.num_nodes)
    keys = jax.random.split(jax.random.key(0), task.num_nodes)
    batches = jax.jit(jax.vmap(task.sample, (0, 0, None)))(keys, nodes, None)
    slots = tree.stack(params, task.num_nodes)
    most = -(-task.num_nodes // jax.sharding.get_mesh().size)
    sizes = (*(size for size in BLOCKS if size < most), most)
    programs = [
        partial(_gradient_steps, task, slots, batches, rounds, size) for size in sizes
    ]
    for program in programs:
        jax.block_until_ready(program())
    # In turns, and the fastest of each: a disturbance makes none of them look best.
    seconds = np.min(
        [[measure.seconds(program) for program in programs] for _ in range(5)], axis=0
    )
    for size, each in zip(sizes, seconds / rounds * 1e3, strict=True):
        print(f"  gradients, {size} at once: {each:.1f} ms", file=sys.stderr)
    best = int(np.argmin(seconds))
    return sizes[best], programs[best]


@partial(jax.jit, static_argnums=(3, 4))
def _gradient_steps(
    task: Classification, slots: Any, batches: Any, rounds: int, block: int
) -> Any:
    def step(_: None, params: Any, batch: Any) -> Any:
        gradient = jax.grad(task.loss)(params, batch)
        return jax.tree.map(lambda x, g: x - work.LEARNING_RATE * g, params, gradient)

    def one_round(slots: Any, _: None) -> tuple[Any, None]:
        return over_slots(step, None, slots, batches, at_once=block), None

    return jax.lax.scan(one_round, slots, length=rounds)[0]
