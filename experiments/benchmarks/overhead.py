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
from tele_jax.tasks.classification import Classification, classification
from tele_jax.tasks.datasets import Dataset
from tele_jax.tasks.models import LeNet, Linen
from tele_jax.tasks.partition import Partition

BLOCKS = (1, 2, 4, 8, 16)
"""How many models a device may step at once in the gradients-only program."""


def overhead(
    num_nodes: int, *, group_norm: bool, rounds: int, pairs: int
) -> list[Record]:
    """The share of a round of DSGD on a ring of LeNets that is not gradient.

    The other program draws no batches, keeps no losses and does not gossip: all it
    does is SGD steps on fixed batches, in blocks of whatever size is fastest. Ours
    measures the slots and their consensus once in so many rounds, on one batch.
    """
    mesh = work.mesh(num_nodes)
    task = work.everywhere(mesh, images(num_nodes, group_norm))
    algorithm = tele.DSGD(tele.graphs.ring(num_nodes), work.LEARNING_RATE)
    params, key = work.lenet_params(group_norm), jax.random.key(0)

    def ours() -> Any:
        return tele.simulate(
            algorithm, task, params, key, num_rounds=rounds, observe=_metrics
        )

    with jax.set_mesh(mesh):
        block, gradients = _fastest_gradients(task, params, rounds)
        seconds = measure.alternate(ours, gradients, pairs)
    record = measure.quotient(seconds[:, 0] - seconds[:, 1], seconds[:, 0])
    return [
        measure.judged(
            {
                "model": f"LeNet{', GroupNorm' * group_norm}",
                "nodes": num_nodes,
                "round, ms": float(np.median(seconds[:, 0])) / rounds * 1e3,
                "gradients only, ms": float(np.median(seconds[:, 1])) / rounds * 1e3,
                "models at once": block,
                **record,
            },
            at_most=0.15,
        )
    ]


def _metrics(slots: Any, task: Any) -> Any:
    return {
        **tele.metrics.each_slot(slots, task),
        **tele.metrics.consensus(slots, task),
    }


def images(num_nodes: int, group_norm: bool) -> Classification:
    """Random images, as many for each node, on a task like a user's."""
    rng = np.random.default_rng(1)
    num_images = num_nodes * work.NUM_EXAMPLES
    images = rng.normal(size=(num_images, 28, 28)).astype(np.float32)
    labels = rng.integers(0, 10, size=num_images)
    labels[:10] = np.arange(10)
    tested = slice(work.BATCH_SIZE)
    dataset = Dataset(images, labels, images[tested], labels[tested])
    index = np.arange(num_images).reshape(num_nodes, -1)
    owned = np.full(num_nodes, work.NUM_EXAMPLES)
    return classification(
        dataset,
        Partition(index, owned),
        Linen(LeNet(group_norm=group_norm)),
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
    def step(slot: tuple[Any, Any]) -> Any:
        params, batch = slot
        gradient = jax.grad(task.loss)(params, batch)
        return jax.tree.map(lambda x, g: x - work.LEARNING_RATE * g, params, gradient)

    own = jax.P("slots")

    @partial(jax.shard_map, in_specs=own, out_specs=own)
    def steps(slots: tuple[Any, Any]) -> Any:
        return jax.lax.map(step, slots, batch_size=block)

    def one_round(slots: Any, _: None) -> tuple[Any, None]:
        return steps((slots, batches)), None

    return jax.lax.scan(one_round, slots, length=rounds)[0]
