"""How long programs take to compile, and what makes them compile again."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tele_jax as tele
from experiments.benchmarks import measure, overhead
from experiments.benchmarks.measure import Record
from tele_jax.compilations import count_compilations
from tele_jax.tasks import models

_NODES = 16
_DEMO_S = 10.0
"""The first result of the demo shall be there after so many seconds."""


def compiling() -> list[Record]:
    """A call with its programs' compilation, and one with other numbers: no program.

    The other numbers are data, initial models, step size and seed; shapes are the same.
    The last row is the demo, from the start of its process, Python's imports included,
    to its first numbers.
    """
    return [
        _compiled("DSGD, least squares", _quadratics, tele.DSGD, _NODES),
        _compiled("DSGD, LeNet", _lenets, tele.DSGD, _NODES),
        _compiled("TELEPORTATION, LeNet", _lenets, tele.Teleportation, _NODES // 2),
        _demo(starts=3),
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
        "target": "at most 0 programs",
        "met": "no" if again else "yes",
    }


def _demo(starts: int) -> Record:
    seconds = np.array([_first_result() for _ in range(starts)])
    record = {
        "program": f"the demo's first result, over {_DEMO_S:g} s",
        "first call, s": float(np.median(seconds)),
        **measure.quotient(seconds, np.full(starts, _DEMO_S)),
    }
    return measure.judged(record, at_most=1.0)


def _first_result() -> float:
    """Seconds until the progress bar of ``make demo`` tells a loss."""
    # Of a GPU this process has most of the memory already.
    little = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        words = ("-m", "experiments.quickstart", "--run", f"{folder}/demo")
        with subprocess.Popen(
            [sys.executable, *words, "--device", jax.default_backend()],
            env=little,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as demo:
            assert demo.stdout is not None
            said = b""
            while b"round_loss" not in said:
                if not (more := os.read(demo.stdout.fileno(), 4096)):
                    raise RuntimeError(f"the demo ended early: {said.decode()}")
                said += more
            seconds = time.perf_counter() - began
            demo.kill()
    return seconds


def _quadratics(seed: int) -> tuple[Any, Any]:
    task = tele.tasks.least_squares(jax.random.key(seed), num_nodes=_NODES, dim=64)
    return task, jnp.full(64, float(seed))


def _lenets(seed: int) -> tuple[Any, Any]:
    model = models.by_name("lenet")
    task: Any = overhead.images(_NODES, model)
    params = model.init(jax.random.key(seed), task.inputs[:1])
    return task.replace(inputs=task.inputs + seed), params
