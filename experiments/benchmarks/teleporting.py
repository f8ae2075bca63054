"""What does not grow with n: a round of TELEPORTATION, and its memory."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

import tele_jax as tele
from experiments.benchmarks import measure, work
from experiments.benchmarks.measure import Record
from experiments.benchmarks.scaling import least_squares
from tele_jax.tasks import datasets, models, partition

_DIM = 64
"""Parameters of a model of least squares."""
MOST_SLOTS = 64
"""The largest k of the rows in which n grows."""


def teleportation(
    *, few: int, many: Sequence[int], slots: Sequence[int], rounds: int, pairs: int
) -> list[Record]:
    """The time of a round with many nodes over that with few, and with many slots.

    In the first rows n grows, and k does not. In the others k grows, set against one
    slot, of which it shall take no more than k times the time; their rounds are longer,
    so that 256 or fewer are enough.
    """
    records = []
    for name, make, num_slots, sizes in (
        ("stored numbers", _stored, 16, many),
        ("numbers made when needed", _made, 16, [max(many)]),
        ("images", _images, MOST_SLOTS, [min(max(many), 1_000_000)]),
    ):
        for num_nodes in sizes:
            pair = tuple(
                _teleporting(make(n), num_slots, rounds) for n in (num_nodes, few)
            )
            told = (name, f"{num_nodes:,} over {few:,} nodes", f"{num_slots} slots")
            record = _compared(pair, *told, rounds, pairs)
            records.append(measure.judged(record, at_most=1.2))
    rounds, task = min(rounds, 256), _stored(many[0])
    for num_slots in slots:
        pair = tuple(_teleporting(task, k, rounds) for k in (num_slots, 1))
        nodes, slots_told = f"{many[0]:,} nodes", f"{num_slots:,} slots over 1"
        told = ("stored numbers", nodes, slots_told)
        record = _compared(pair, *told, rounds, pairs)
        records.append(measure.judged(record, at_most=num_slots))
    return records


def _teleporting(start: tuple[Any, Any], num_slots: int, rounds: int) -> partial[Any]:
    task, params = start
    algorithm = tele.Teleportation(tele.graphs.ring(num_slots), 0.1)
    key = jax.random.key(1)

    def run(task: Any) -> Any:
        return tele.simulate(
            algorithm, task, params, key, num_rounds=rounds, observe=work.nothing
        ).state

    return partial(run, task)


@struct.dataclass
class _Made:
    """F_i(x; ξ) = ½ ‖x − b_i − ξ‖² with b_i ~ N(0, I), made from i when needed."""

    key: jax.Array
    num_nodes: int = struct.field(pytree_node=False)

    counts_draws: ClassVar[bool] = False

    def sample(
        self, key: jax.Array, node: jax.Array, count: jax.Array | None
    ) -> jax.Array:
        """b_i + ξ, float32[d]."""
        del count
        own = jax.random.normal(jax.random.fold_in(self.key, node), (_DIM,))
        return own + jax.random.normal(key, (_DIM,))

    def loss(self, params: jax.Array, batch: jax.Array) -> jax.Array:
        """½ ‖x − b_i − ξ‖²."""
        return 0.5 * jnp.sum((params - batch) ** 2)


def _stored(num_nodes: int) -> tuple[Any, Any]:
    return least_squares(num_nodes, _DIM), jnp.zeros(_DIM)


def _made(num_nodes: int) -> tuple[Any, Any]:
    return _Made(jax.random.key(0), num_nodes), jnp.zeros(_DIM)


def _images(num_nodes: int) -> tuple[Any, Any]:
    """60,000 images of Fashion-MNIST's size, of which every node owns 32."""
    rng = np.random.default_rng(0)

    def part(size: int) -> tuple[np.ndarray, np.ndarray]:
        images = rng.integers(256, size=(size, 28, 28), dtype=np.uint8)
        return images, rng.integers(10, size=size)

    dataset = datasets.Dataset(*part(60_000), *part(10))
    owners = partition.dirichlet(
        dataset.train_labels, num_nodes, 1.0, seed=0, examples_per_node=32
    )
    model = models.by_name("softmax")
    task = tele.tasks.classification(dataset, owners, model, batch_size=8)
    return task, model.init(jax.random.key(0), task.inputs[:1])


def _compared(
    programs: tuple[partial[Any], ...],
    data: str,
    nodes: str,
    slots: str,
    rounds: int,
    pairs: int,
) -> Record:
    one, other = programs
    seconds = measure.alternate(one, other, pairs)
    first, second = np.median(seconds, axis=0) / rounds * 1e6
    return {
        "data": data,
        "nodes": nodes,
        "slots": slots,
        "round, µs": f"{first:.1f} over {second:.1f}",
        "temporary, bytes": " over ".join(f"{_temporary_bytes(p):,}" for p in programs),
        **measure.quotient(seconds[:, 0], seconds[:, 1]),
    }


def _temporary_bytes(program: partial[Any]) -> int:
    """What the program needs beside its arguments and results."""
    lowered = jax.jit(program.func).lower(*program.args)
    analysis: Any = lowered.compile().memory_analysis()
    return analysis.temp_size_in_bytes
