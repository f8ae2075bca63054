"""What the benchmark measures, section by section, and how often."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from experiments.benchmarks import (
    building,
    clocks,
    compiling,
    convolving,
    deep,
    driving,
    floors,
    footprint,
    formulating,
    layers,
    overhead,
    peers,
    recomputing,
    scaling,
    sharing,
    teleporting,
    throughput,
    training,
)
from experiments.benchmarks.measure import Record

Section = Literal[
    "throughput",
    "training",
    "deep",
    "overhead",
    "floors",
    "layers",
    "convolutions",
    "formulations",
    "teleportation",
    "gossip",
    "devices",
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
    """Nodes of the clocks section."""
    few_nodes: int = 1_000
    """What they are set against, there and in the teleportation section."""
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
    "Least time of a round, by FLOPs and bytes counted by hand, over its time": (
        "floors",
        lambda config: floors.floors(rounds=config.rounds, pairs=config.pairs),
    ),
    "Least time of a layer by itself, by FLOPs and bytes, over its time": (
        "layers",
        lambda config: layers.layers(num_slots=8, pairs=config.pairs),
    ),
    "Time of one batched model's convolutions over that of a kernel per slot": (
        "convolutions",
        _convolutions,
    ),
    "Time of a formulation of convolutions, a kernel per slot, over the chosen one's": (
        "formulations",
        lambda config: formulating.formulating(num_slots=2, pairs=config.pairs),
    ),
    "Time of a round of Teleportation, many nodes or slots over few": (
        "teleportation",
        _teleportation,
    ),
    "Time of gossip over that of a copy": (
        "gossip",
        lambda config: scaling.gossip(5 * config.pairs),
    ),
    "Slots shared by devices: bytes moved in a round over those of models told": (
        "devices",
        lambda _: sharing.sharing(),
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
