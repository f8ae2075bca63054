"""Slots shared between 1, 2, 4 and 8 devices: what a round moves, and for how long.

Bytes are read from the compiled program, and set against those of
``tele.analysis.models_between_devices``; the time on links is computed from them. On
CPUs the devices are made of fewer cores, so that rounds per second only show that it
works; so it is run in a process of its own:

    python -m experiments.benchmarks.sharing

which prints its rows as JSON.
"""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

import tele_jax as tele
from experiments.benchmarks import measure, overhead, work
from experiments.benchmarks.measure import Record
from tele_jax.tasks import models

_DEVICES = (1, 2, 4, 8)
_SLOTS = 64
_ROUNDS = 6
"""A period of the 1-peer exponential graph of 64 slots."""
_LINK = 1e9
"""Bytes a second: of a network of 10 Gbit/s nearly."""

Build = Callable[[int], tele.Topology]


def sharing() -> list[Record]:
    """Strong scaling, 64 LeNets on D devices, and weak scaling, 8 on each."""
    if jax.default_backend() != "cpu":
        return _rows()
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(max(_DEVICES)),
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows: list[Record] = json.loads(done.stdout.splitlines()[-1])
    return rows


def _rows() -> list[Record]:
    matching = partial(tele.graphs.random_matching, key=jax.random.key(0))
    cases: list[tuple[str, str, Build, int, int]] = [
        *(("strong", "ring", tele.graphs.ring, _SLOTS, d) for d in _DEVICES),
        *(("weak", "ring", tele.graphs.ring, 8 * d, d) for d in _DEVICES[:-1]),
        ("strong", "1-peer exponential", tele.graphs.one_peer_exponential, _SLOTS, 8),
        ("strong", "complete", tele.graphs.complete, _SLOTS, 8),
        ("strong", "random matching", matching, _SLOTS, 8),
    ]
    return [_row(*case) for case in cases if case[-1] <= jax.device_count()]


def _row(scaling: str, name: str, build: Build, num_slots: int, devices: int) -> Record:
    topology = build(num_slots)
    task: Any = overhead.images(num_slots, models.by_name("lenet"))
    params = task.model.init(jax.random.key(0), task.inputs[:1])
    algorithm = tele.DSGD(topology, work.LEARNING_RATE)

    def run(task: Any, params: Any) -> Any:
        return tele.simulate(
            *(algorithm, task, params, jax.random.key(1)),
            num_rounds=_ROUNDS,
            observe=work.nothing,
        )

    mesh = tele.slot_mesh(devices)
    given = work.everywhere(mesh, (task, params))
    with jax.set_mesh(mesh):
        compiled = jax.jit(run).lower(*given).compile()
        rate = measure.rate(lambda: compiled(*given), _ROUNDS, repeats=3)
    moved = bytes_moved(str(compiled.as_text()), devices) / (topology.period or 1)
    of_model = tele.tree.num_bytes(params)
    told = of_model * np.mean(tele.analysis.models_between_devices(topology, devices))
    record = {
        "scaling": scaling,
        "topology": name,
        "slots": num_slots,
        "devices": devices,
        "rounds/s here": rate,
        "MB to a device": moved / 1e6,
        "of models, MB": float(told) / 1e6,
        "ms at 1 GB/s": moved / _LINK * 1e3,
    }
    if devices == 1:
        return record
    record["ratio"] = float(moved / told)
    return measure.judged(record, at_least=1.0, at_most=1.05)


def bytes_moved(program: str, num_devices: int) -> float:
    """Bytes that a device receives by a program's collectives, each of them once.

    Of a loop over rounds it is those of one round, and of rounds that take turns those
    of all turns together. An all-reduce of a number moves it twice, less what is there:
    2 (D − 1) / D.

    Args:
      program: the text of a compiled program.
      num_devices: D.

    >>> bytes_moved("a = f32[2,3] collective-permute(b)", 4)
    24.0
    """
    share = (num_devices - 1) / num_devices
    factors = {"collective-permute": 1.0, "all-gather": share, "all-reduce": 2 * share}
    return sum(
        factor * 4 * sum(map(math.prod, moved(program, collective)))
        for collective, factor in factors.items()
    )


def moved(program: str, collective: str) -> list[tuple[int, ...]]:
    """Shapes of the float32 arrays that a collective gives, by the program's text.

    >>> moved("a = f32[2,3] all-gather(b)", "all-gather")
    [(2, 3)]
    """
    made = re.findall(rf"= (.*?) {collective}(?:-done)?\(", program)
    shapes = [shape for one in made for shape in re.findall(r"f32\[([\d,]*)\]", one)]
    return [tuple(int(n) for n in shape.split(",") if n) for shape in shapes]


if __name__ == "__main__":
    print(json.dumps(_rows()))
