"""Remat: what it costs in time and saves in memory."""

from typing import Any

import jax

import tele_jax as tele
from experiments.benchmarks import deep, measure, work
from experiments.benchmarks.measure import Program, Record
from tele_jax.tasks import models

_AT_MOST = 4 / 3
"""A gradient takes the time of three forward passes, and with remat of a fourth."""


def recomputing(num_nodes: int, rounds: int, pairs: int) -> list[Record]:
    """A round of DSGD with remat over one without, on one device, in turns.

    Memory is XLA's count of everything but the data.
    """
    records = []
    for name in ("resnet20", "vgg11", "mixer"):
        remembering, megabytes = _compiled(name, num_nodes, rounds, remat=False)
        again, fewer = _compiled(name, num_nodes, rounds, remat=True)
        remat, plain = measure.alternate(again, remembering, pairs).T
        records.append(
            measure.judged(
                {
                    "model": name,
                    "nodes": num_nodes,
                    "without, MB": megabytes,
                    "with remat, MB": fewer,
                    **measure.quotient(remat, plain),
                },
                at_most=_AT_MOST,
            )
        )
    return records


def _compiled(
    name: str, num_nodes: int, rounds: int, *, remat: bool
) -> tuple[Program, float]:
    """A simulation, all examples of a batch at a time, and its megabytes."""
    model = models.by_name(name, remat=remat)
    task = deep.random_images(num_nodes, model, examples_at_once=None)
    params = model.init(jax.random.key(0), task.inputs[:1])
    algorithm = tele.DSGD(tele.graphs.ring(num_nodes), work.LEARNING_RATE)

    def run(task: Any, params: Any) -> Any:
        return tele.simulate(
            *(algorithm, task, params, jax.random.key(1)),
            num_rounds=rounds,
            observe=work.nothing,
        )

    compiled = jax.jit(run).lower(task, params).compile()
    found: Any = compiled.memory_analysis()
    taken = found.temp_size_in_bytes + found.output_size_in_bytes
    return lambda: compiled(task, params), taken / 1e6
