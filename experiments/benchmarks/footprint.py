"""Memory: what a program takes beside its data, and what was predicted."""

from collections.abc import Callable
from typing import Any

import jax

import tele_jax as tele
from experiments.benchmarks import deep, measure, overhead, work
from experiments.benchmarks.measure import Record
from tele_jax.tasks import models


def footprint() -> list[Record]:
    """XLA's count over the estimate of ``tele.analysis.memory``, on one device.

    Both leave out the task's data. Nothing is simulated.
    """
    ring = tele.graphs.ring
    cases: list[tuple[str, Callable[[], Any], Any]] = [
        ("DSGD, 64 LeNets", lambda: _images("lenet", 64), tele.DSGD(ring(64), 0.1)),
        (
            "DSGD, 1,024 softmax regressions",
            lambda: _images("softmax", 1024),
            tele.DSGD(ring(1024), 0.1),
        ),
        (
            "TELEPORTATION, 16 of 1,024 LeNets",
            lambda: _images("lenet", 1024),
            tele.Teleportation(ring(16), 0.1),
        ),
        (
            "DSGD, 4 of ResNet-20",
            lambda: deep.random_images(4, models.by_name("resnet20"), 4),
            tele.DSGD(ring(4), 0.1),
        ),
    ]
    return [_counted(name, make(), algorithm) for name, make, algorithm in cases]


def _images(name: str, num_nodes: int) -> Any:
    return overhead.images(num_nodes, models.by_name(name))


def _counted(name: str, task: Any, algorithm: Any) -> Record:
    params = task.model.init(jax.random.key(0), task.inputs[:1])

    def run(task: Any, params: Any) -> Any:
        return tele.simulate(
            *(algorithm, task, params, jax.random.key(0)),
            num_rounds=2,
            observe=work.nothing,
        )

    found: Any = jax.jit(run).lower(task, params).compile().memory_analysis()
    counted = found.temp_size_in_bytes + found.output_size_in_bytes
    told = tele.analysis.memory(algorithm, task, params, jax.default_backend())
    estimated = told.state + told.step  # nothing is evaluated
    slots = algorithm.topology.num_slots * tele.tree.num_bytes(params)
    record = {
        "what": name,
        "models, MB": slots / 1e6,
        "XLA's count, MB": counted / 1e6,
        "estimate, MB": estimated / 1e6,
        "data beside, MB": told.data / 1e6,
        "ratio": counted / estimated,
    }
    return measure.judged(record, at_most=1.25)
