"""Measure the package against its targets, and against others that do the same work.

Prints a table for every section and writes them to results/benchmark, with all ratios
in one Parquet file and one figure that has their limits. Ratios are medians over pairs
of programs that are run in turns; the times beside them depend on what else the machine
does.

    python -m experiments.benchmark
    python -m experiments.benchmark --only gossip sweep
    python -m experiments.benchmark --peers DIR --torch-python venv/bin/python

DIR holds scripts that do the work of the first section in other ways; without it, only
the programs that one would write first in JAX are compared.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from experiments import command, machine, results
from experiments.benchmarks import (
    building,
    clocks,
    compiling,
    convolving,
    deep,
    driving,
    footprint,
    measure,
    overhead,
    peers,
    recomputing,
    scaling,
    summary,
    teleporting,
    throughput,
    training,
)
from experiments.benchmarks.measure import Record
from experiments.results import Folder

Section = Literal[
    "throughput",
    "training",
    "deep",
    "overhead",
    "convolutions",
    "teleportation",
    "gossip",
    "sweep",
    "search",
    "building",
    "driving",
    "clocks",
    "compiling",
    "memory",
    "remat",
]


@dataclasses.dataclass(frozen=True)
class Config:
    """What to measure, and how often."""

    only: tuple[Section, ...] = ()
    """Sections to run; all by default."""
    peers: Path | None = None
    """The folder with the scripts of other programs."""
    torch_python: Path | None = None
    """A Python with PyTorch, for those of the scripts that need it, and for deep."""
    nodes: tuple[int, ...] = (16, 64)
    """Numbers of nodes of the throughput section."""
    rounds: int = 20
    """Rounds in one timed call of a network's simulation."""
    repeats: int = 5
    """Timed calls whose median is one measured throughput."""
    passes: int = 3
    """How often ours and a baseline are measured in turns."""
    pairs: int = 20
    """Pairs of calls of the other sections."""
    many_nodes: int = 1_000_000
    few_nodes: int = 1_000
    """Numbers of nodes of the clocks section; the second one of teleportation, too."""
    growing_nodes: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000)
    """Numbers of nodes of the teleportation section; 2.6 GB of data at the last."""


def _throughput(config: Config) -> list[Record]:
    others = peers.find(config.peers, config.torch_python)
    often = peers.Often(config.rounds, config.repeats, config.passes)
    return [
        record
        for of_network in (throughput.lenet, throughput.mlp)
        for num_nodes in config.nodes
        for record in of_network(num_nodes, others, often)
    ]


def _training(config: Config) -> list[Record]:
    others = peers.find(config.peers, config.torch_python)
    return training.training(25, others, repeats=3, passes=config.passes)


def _deep(config: Config) -> list[Record]:
    # Twice as many, as a script's rates differ more from start to start.
    return deep.deep(4, config.torch_python, 2 * config.passes)


def _checksums(config: Config) -> list[Record]:
    return throughput.checksums(peers.find(config.peers, config.torch_python))


def _convolutions(config: Config) -> list[Record]:
    return convolving.convolving(num_slots=8, lenets=64, pairs=config.pairs)


def _teleportation(config: Config) -> list[Record]:
    return teleporting.teleportation(
        few=config.few_nodes,
        many=config.growing_nodes,
        slots=tuple(k for k in (16, 256, 4096) if k <= config.growing_nodes[0]),
        rounds=2000,
        pairs=config.pairs,
    )


def _sweep(config: Config) -> list[Record]:
    return scaling.sweep(num_seeds=5, num_rates=8, rounds=300, pairs=config.pairs)


def _driving(config: Config) -> list[Record]:
    return driving.driving(
        64, rounds=10 * config.rounds, chunks=10, pairs=config.repeats
    )


def _clocks(config: Config) -> list[Record]:
    return clocks.clocks(
        rounds=config.rounds,
        many=config.many_nodes,
        few=config.few_nodes,
        pairs=config.pairs,
    )


SECTIONS: dict[str, tuple[Section, Callable[[Config], list[Record]]]] = {
    "Do all compute the same? Sums of all parameters after 5 rounds": (
        "throughput",
        _checksums,
    ),
    "Node-steps per second, ours over the baseline": ("throughput", _throughput),
    "Node-steps per second of the neural study over the baseline's": (
        "training",
        _training,
    ),
    "Node-steps per second of deep networks over PyTorch's": ("deep", _deep),
    "Time of a round over that of its gradients": (
        "overhead",
        lambda config: overhead.overhead(rounds=config.rounds, pairs=config.pairs),
    ),
    "Time of one batched model's convolutions over that of a kernel per slot": (
        "convolutions",
        _convolutions,
    ),
    "Time of a round of Teleportation, many nodes or slots over few": (
        "teleportation",
        _teleportation,
    ),
    "Time of gossip over that of a copy": (
        "gossip",
        lambda config: scaling.gossip(5 * config.pairs),
    ),
    "Time of separate calls over that of one program": ("sweep", _sweep),
    "Time of Algorithm 2 over plain runs with n slots, one per wave": (
        "search",
        lambda config: scaling.search(num_nodes=1024, rounds=500, pairs=config.pairs),
    ),
    "Building topologies of 100,000 slots": (
        "building",
        lambda config: building.building(config.repeats),
    ),
    "What progress, chunks and checkpoints cost": ("driving", _driving),
    "What simulated clocks cost": ("clocks", _clocks),
    "What is compiled": ("compiling", lambda _: compiling.compiling()),
    "Memory, XLA's count over the estimate": (
        "memory",
        lambda _: footprint.footprint(),
    ),
    "Time of a round with remat over one without": (
        "remat",
        lambda config: recomputing.recomputing(4, rounds=2, pairs=config.pairs),
    ),
}


def check(config: Config) -> str:
    """Refuse what cannot run, before any work, and name the folder."""
    for name in ("rounds", "repeats", "passes", "pairs", "few_nodes", "many_nodes"):
        if (value := getattr(config, name)) < 1:
            raise ValueError(f"got {name}={value}, expected at least 1.")
    for name in ("nodes", "growing_nodes"):
        if not (value := getattr(config, name)) or min(value) < 1:
            raise ValueError(f"got {name}={value}, expected numbers of at least 1.")
    if min(config.few_nodes, *config.growing_nodes) < teleporting.MOST_SLOTS:
        raise ValueError(
            f"got few_nodes={config.few_nodes}, growing_nodes={config.growing_nodes}, "
            f"expected at least {teleporting.MOST_SLOTS}, which are active."
        )
    for name in ("peers", "torch_python"):
        if (path := getattr(config, name)) is not None and not path.exists():
            raise ValueError(f"got {name}={path}, which does not exist.")
    if config.only == ("deep",) and config.torch_python is None:
        raise ValueError("got only=deep, expected torch_python, too.")
    return "-".join(config.only) or "all"


def measure_all(config: Config, folder: Folder) -> None:
    """Measure, print, write."""
    environment = measure.environment()
    print(measure.markdown([environment]))
    tables = {}
    for title, (section, run) in SECTIONS.items():
        if config.only and section not in config.only:
            continue
        print(f"measuring {section} ...", file=sys.stderr)
        measured = functools.partial(run, config)
        tables[title] = folder.part(title, list[Record], measured)
        print(f"\n{title}\n\n{measure.markdown(tables[title])}", flush=True)
    written = {"environment": environment, "tables": tables}
    results.write_json(folder.path / "tables.json", written)
    if ratios := summary.rows(tables):
        results.write_table(folder.path / "ratios.parquet", ratios)
        if drawn := summary.figure(ratios):
            drawn.savefig(folder.path / "ratios.png", dpi=150)


def main() -> None:
    """Entry point: flags are the fields of ``Config``."""
    machine.use_all_cores()  # as the baselines do, with threads
    command.run("benchmark", Config, check, measure_all, __doc__)


if __name__ == "__main__":
    main()
