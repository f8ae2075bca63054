"""How long programs take to compile, and what makes them compile again."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import tele_jax as tele
from experiments.benchmarks import measure, overhead
from experiments.benchmarks.measure import Record
from tele_jax.compilations import count_compilations
from tele_jax.tasks import models

_NODES = 16


def compiling() -> list[Record]:
    """A call with its programs' compilation, and one with other numbers: no program.

    The other numbers are data, initial models, step size and seed; shapes are the same.
    """
    return [
        _compiled("DSGD, least squares", _quadratics, tele.DSGD, _NODES),
        _compiled("DSGD, LeNet", _lenets, tele.DSGD, _NODES),
        _compiled("TELEPORTATION, LeNet", _lenets, tele.Teleportation, _NODES // 2),
    ]


def _compiled(
    name: str, make: Callable[[int], tuple[Any, Any]], method: Any, num_slots: int
) -> Record:
    topology = tele.graphs.ring(num_slots)

    def arguments(seed: int) -> tuple[Any, ...]:
        numbers = jnp.float32(0.1 / (1 + seed)), jax.random.key(seed)
        return jax.block_until_ready((*make(seed), *numbers))

    def call(task: Any, params: Any, rate: Any, key: Any) -> Any:
        algorithm = method(topology, rate)
        return tele.simulate(algorithm, task, params, key, num_rounds=20, eval_every=10)

    first, second = arguments(0), arguments(1)
    with count_compilations() as new:
        seconds = measure.seconds(lambda: call(*first))
    with count_compilations() as again:
        repeated = measure.seconds(lambda: call(*second))
    return {
        "program": name,
        "first call, s": seconds,
        "of it compiling, s": sum(new),
        "programs": len(new),
        "call with new numbers, s": repeated,
        "programs for these": len(again),
        "target": "at most 0",
        "met": "no" if again else "yes",
    }


def _quadratics(seed: int) -> tuple[Any, Any]:
    task = tele.tasks.least_squares(jax.random.key(seed), num_nodes=_NODES, dim=64)
    return task, jnp.full(64, float(seed))


def _lenets(seed: int) -> tuple[Any, Any]:
    model = models.by_name("lenet")
    task: Any = overhead.images(_NODES, model)
    params = model.init(jax.random.key(seed), task.inputs[:1])
    return task.replace(inputs=task.inputs + seed), params
