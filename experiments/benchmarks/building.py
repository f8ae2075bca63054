"""Building topologies of 100,000 slots, and the same graphs with networkx.

What is converted from networkx is built there beforehand, outside the time.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import networkx as nx

import tele_jax as tele
from experiments.benchmarks.measure import Record

_SLOTS = 100_000
_LIMIT_S = 2.0

graphs = tele.graphs

Build = Callable[[], Any]

_CASES: dict[str, tuple[Build, Build | None]] = {
    "ring": (lambda: graphs.ring(_SLOTS), lambda: nx.cycle_graph(_SLOTS)),
    "chain": (lambda: graphs.chain(_SLOTS), lambda: nx.path_graph(_SLOTS)),
    "complete": (lambda: graphs.complete(_SLOTS), None),
    "torus": (lambda: graphs.torus(250, 400), None),
    "hypercube, 131,072": (lambda: graphs.hypercube(2**17), None),
    "exponential": (lambda: graphs.exponential(_SLOTS), None),
    "one-peer exponential": (lambda: graphs.one_peer_exponential(_SLOTS), None),
    "hyper-hypercube, degree 4": (lambda: graphs.hyper_hypercube(_SLOTS, 4), None),
    "Base-2": (lambda: graphs.base_graph(_SLOTS - 9, 1), None),
    "Base-64": (lambda: graphs.base_graph(_SLOTS - 9, 63), None),
    "D-EquiStatic, 63 bases": (lambda: graphs.d_equistatic(_SLOTS, 63, 0), None),
    "random regular, degree 4": (
        lambda: graphs.random_regular(_SLOTS, 4, 0),
        lambda: nx.random_regular_graph(4, _SLOTS, seed=0),
    ),
    "random regular, degree 64": (lambda: graphs.random_regular(_SLOTS, 64, 0), None),
    "Erdős–Rényi, mean degree 12": (
        lambda: graphs.erdos_renyi(_SLOTS, 12 / _SLOTS, 0, allow_disconnected=True),
        lambda: nx.fast_gnp_random_graph(_SLOTS, 12 / _SLOTS, seed=0),
    ),
    "Watts–Strogatz, mean degree 40": (
        lambda: graphs.watts_strogatz(_SLOTS, 40, 0.1, 0),
        lambda: nx.watts_strogatz_graph(_SLOTS, 40, 0.1, seed=0),
    ),
    "caveman, cliques of 50": (
        lambda: graphs.caveman(_SLOTS // 50, 50),
        lambda: nx.connected_caveman_graph(_SLOTS // 50, 50),
    ),
}


def building(repeats: int) -> list[Record]:
    """Seconds to build each topology, the least of a few, against the limit."""
    given = nx.watts_strogatz_graph(_SLOTS, 50, 0.1, seed=0)
    converted: dict[str, tuple[Build, None]] = {
        "from networkx, mean degree 50": (lambda: graphs.from_networkx(given), None),
        "the same, best constant weights": (
            lambda: graphs.from_networkx(given, "best_constant"),
            None,
        ),
    }
    cases = {**_CASES, **converted}
    return [_building(name, *case, repeats) for name, case in cases.items()]


def _building(name: str, ours: Build, theirs: Build | None, repeats: int) -> Record:
    topology, seconds = _least(ours, repeats)
    senders = tele.analysis.degrees(topology, 1).in_max
    record: Record = {"topology": name, "in-degree": senders, "seconds": seconds}
    if theirs is not None:
        graph, of_networkx = _least(theirs, 1)
        del graph
        record["networkx over ours"] = of_networkx / seconds
    met = "yes" if seconds <= _LIMIT_S else "no"
    return {**record, "target": f"at most {_LIMIT_S:g} s", "met": met}


def _least(build: Build, repeats: int) -> tuple[Any, float]:
    """What is built, and the least time of all repeats: other work only adds to it."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        built = build()
        jax.block_until_ready(jax.tree.leaves(built))
        times.append(time.perf_counter() - start)
    return built, min(times)
