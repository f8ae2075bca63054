"""Other programs that do the same work, run as scripts of their own."""

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments.benchmarks import measure
from experiments.benchmarks.measure import Program, Record, num_cores

Rate = Callable[[], float]
"""Measures a program once: node-steps per second."""


class Peer(NamedTuple):
    """A script that prints ``{"node_steps_per_s": ...}`` as JSON on its last line.

    It takes ``--model``, ``--n``, ``--threads``, ``--rounds`` and ``--repeats``; with
    ``--check`` a word and two sums, of all parameters and of their squares, are last.
    """

    name: str
    interpreter: Path
    script: Path
    options: tuple[str, ...]


class Often(NamedTuple):
    """How often programs are measured."""

    rounds: int
    """Rounds in one call."""
    repeats: int
    """Calls whose median is one rate."""
    passes: int
    """Rates of every program, in turns."""

    def ours(self, program: Program, num_nodes: int) -> Rate:
        """The rate of a program of this process."""
        steps = num_nodes * self.rounds
        return functools.partial(measure.rate, program, steps, self.repeats)

    def peer(self, peer: Peer, model: str, num_nodes: int) -> Rate:
        """The rate of a script."""
        return functools.partial(
            rate, peer, model, num_nodes, self.rounds, self.repeats
        )


_PEERS = {
    "torch_loop": (),
    "torch_matrix": (),
    "torch_vmap": (),
    "torch_vmap --compile": (),
    "torch_dist": (),
    "jax_naive --conv xla": ("--mode", "scan"),
    "jax_naive --conv map": ("--mode", "scan"),
    "jax_naive --conv patches": ("--mode", "scan"),
    "jax_naive --conv band": ("--mode", "scan"),
}


STRONGEST = "torch_vmap --compile"
"""The fastest of the PyTorch programs."""


def find(folder: Path | None, torch_python: Path | None) -> list[Peer]:
    """The peers whose script is in the folder and that have an interpreter.

    PyTorch's compute on the CPU, and are left out where ours do not.
    """
    if folder is None:
        return []
    backend = jax.default_backend()
    platform = ("--platform", backend)
    peers = []
    for name, options in _PEERS.items():
        stem, *own = name.split()
        is_torch = stem.startswith("torch")
        script = (folder / f"{stem}.py").resolve()
        interpreter = torch_python if is_torch else Path(sys.executable)
        if interpreter is None or not script.exists():
            continue
        if is_torch and backend != "cpu":
            print(f"left out, {name} computes on the CPU", file=sys.stderr)
        else:
            options = (*own, *options, *(() if is_torch else platform))
            # Not resolved: a virtual environment's python is a link to another one.
            peers.append(Peer(name, interpreter.absolute(), script, options))
    return peers


def rate(peer: Peer, model: str, num_nodes: int, rounds: int, repeats: int) -> float:
    """Node-steps per second: the script's own median, its warm-up left out.

    Raises:
      RuntimeError: the script failed; with what it said last.
    """
    timed = (f"--rounds={rounds}", f"--repeats={repeats}")
    said = _run(peer, model, num_nodes, *timed)
    return float(json.loads(said)["node_steps_per_s"])


def compare(
    ours: Rate, baselines: Mapping[str, Rate], other: str, variant: Rate, passes: int
) -> Iterator[Record]:
    """Ours in turns with every baseline, and with a variant of ours called ``other``.

    Baselines that fail are left out, and that is said.
    """
    for name, baseline in baselines.items():
        try:
            rates = np.array([(ours(), baseline(), variant()) for _ in range(passes)])
        except RuntimeError as error:
            print(f"left out, {error}", file=sys.stderr)
            continue
        own, others, varied = rates.T
        yield {
            "baseline": name,
            "baseline node-steps/s": float(np.median(others)),
            "ours": float(np.median(own)),
            **measure.quotient(own, others),
            f"ours, {other}": float(np.median(varied)),
            f"ratio, {other}": float(np.median(varied / others)),
        }


def checksum(peer: Peer, model: str, num_nodes: int) -> tuple[float, float]:
    """The sums of all parameters and of their squares after five rounds."""
    first, second = _run(peer, model, num_nodes, "--check").split()[1:]
    return float(first), float(second)


def _run(peer: Peer, model: str, num_nodes: int, *options: str) -> str:
    command = [str(peer.interpreter), str(peer.script), *peer.options]
    command += [f"--model={model}", f"--n={num_nodes}", *options]
    command += [f"--threads={num_cores()}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{peer.name} failed: {done.stderr.strip()[-300:]}")
    return done.stdout.strip().splitlines()[-1]
