"""Every topology of ``tele_jax.graphs`` that exists for some number of slots."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import networkx as nx
import numpy as np

import tele_jax as tele
from tele_jax import graphs, plot

STATIC, PERIODIC, RANDOM = "static", "periodic", "random"
"""What the rounds of a topology are; the order of the figures."""
_MAX_TRIES = 100


class Entry(NamedTuple):
    """A topology of the study."""

    topology: tele.Topology
    rounds: str
    """STATIC, PERIODIC or RANDOM."""
    exact: bool = False
    """Whether the papers promise an exact average after a period."""
    positions: np.ndarray | None = None
    """Where to draw the slots, [k, 2], if not as usual."""


class Catalogue(NamedTuple):
    """What there is for a number of slots, and what is not."""

    entries: dict[str, Entry]
    remarks: list[str]
    """Which topologies were left out, or drawn from another seed, and why."""


def catalogue(size: int, seed: int) -> Catalogue:
    """All topologies of a size; names as in the papers.

    Args:
      size: k, at least 2.
      seed: decides the random graphs and rounds.
    """
    remarks: list[str] = []
    entries = {
        **_static(size),
        **_drawn_once(size, seed, remarks),
        **_periodic(size),
        **_random(size, seed),
    }
    # Those that not every size has come last of their kind: the others keep their
    # colours.
    if size & (size - 1):
        remarks.append(
            f"hypercube and 1-peer hypercube are left out: {size} is no power of two."
        )
    else:
        entries["hypercube"] = Entry(graphs.hypercube(size), STATIC)
        entries["1-peer hypercube"] = Entry(
            graphs.one_peer_hypercube(size), PERIODIC, exact=True
        )
    degree = _largest_prime_factor(size) - 1
    if degree > 4:
        remarks.append(
            f"hyper-hypercube is left out: {size} has a prime factor above 5."
        )
    else:
        entries[f"{degree}-peer hyper-hypercube"] = Entry(
            graphs.hyper_hypercube(size, degree), PERIODIC, exact=True
        )
    cliques = [clique for clique in (5, 4, 3) if size % clique == 0]
    if cliques:
        entries[f"caveman, cliques of {cliques[0]}"] = Entry(
            graphs.caveman(size // cliques[0], cliques[0]), STATIC
        )
    else:
        remarks.append(f"caveman is left out: no cliques of 3 to 5 make {size} slots.")
    kinds = (STATIC, PERIODIC, RANDOM)
    in_order = sorted(entries, key=lambda name: kinds.index(entries[name].rounds))
    return Catalogue({name: entries[name] for name in in_order}, remarks)


def _static(size: int) -> dict[str, Entry]:
    rows, columns = _sides(size)
    grid = plot.grid_positions(rows, columns) if rows > 1 else None
    return {
        "ring": Entry(graphs.ring(size), STATIC),
        "chain": Entry(graphs.chain(size), STATIC),
        "star": Entry(graphs.star(size), STATIC),
        "barbell": Entry(graphs.barbell(size), STATIC),
        f"torus {rows} × {columns}": Entry(
            graphs.torus(rows, columns), STATIC, positions=grid
        ),
        "exponential": Entry(graphs.exponential(size), STATIC),
        "complete": Entry(graphs.complete(size), STATIC, exact=True),
    }


def _drawn_once(size: int, seed: int, remarks: list[str]) -> dict[str, Entry]:
    """Fixed random graphs, of the first seed from ``seed`` on that is connected."""
    bases = math.ceil(math.log2(size))
    probability = min(1.0, 2 * math.log(size) / size)
    degree = 4 if size > 4 or size == 2 else 2
    builders: dict[str, Callable[[int], tele.Topology]] = {
        f"Erdős–Rényi, p = {probability:.2f}": lambda seed: graphs.erdos_renyi(
            size, probability, seed, allow_disconnected=True
        ),
        "random 4-regular": lambda seed: graphs.random_regular(
            size, 4, seed, allow_disconnected=True
        ),
        f"Watts–Strogatz ({degree}, 0.2)": lambda seed: graphs.watts_strogatz(
            size, degree, 0.2, seed, allow_disconnected=True
        ),
        f"D-EquiStatic, M = {bases}": lambda seed: graphs.d_equistatic(
            size, bases, seed, allow_disconnected=True
        ),
        "U-EquiStatic, M = 2": lambda seed: graphs.u_equistatic(
            size, 2, seed, allow_disconnected=True
        ),
    }
    entries = {}
    for name, build in builders.items():
        found = _first_connected(build, seed)
        if found is None:
            remarks.append(
                f"{name} is left out: {_MAX_TRIES} graphs from seed {seed} on were not "
                "connected."
            )
            continue
        number, topology = found
        if number != seed:
            remarks.append(f"{name} is of seed {number}, the first that is connected.")
        entries[name] = Entry(topology, STATIC)
    return entries


def _first_connected(
    build: Callable[[int], tele.Topology], seed: int
) -> tuple[int, tele.Topology] | None:
    """The first seed from ``seed`` on whose graph is connected, and that graph."""
    for number in range(seed, seed + _MAX_TRIES):
        if tele.contraction(topology := build(number)) > 1e-9:
            return number, topology
    return None


def _periodic(size: int) -> dict[str, Entry]:
    return {
        "1-peer exponential": Entry(
            graphs.one_peer_exponential(size), PERIODIC, exact=size & (size - 1) == 0
        ),
        "Simple Base-2": Entry(graphs.simple_base_graph(size, 1), PERIODIC, exact=True),
        **{
            f"Base-{degree + 1}": Entry(
                graphs.base_graph(size, degree), PERIODIC, exact=True
            )
            for degree in (1, 2, 4)
        },
    }


def _random(size: int, seed: int) -> dict[str, Entry]:
    rows, columns = _sides(size)
    keys = jax.random.split(jax.random.key(seed), 8)
    torus = nx.grid_2d_graph(rows, columns, periodic=True)
    grid = plot.grid_positions(rows, columns) if rows > 1 else None
    return {
        "MATCHA, torus, half": Entry(
            graphs.matcha(torus, 0.5, keys[0]), RANDOM, positions=grid
        ),
        "random matching": Entry(graphs.random_matching(size, keys[1]), RANDOM),
        "OD-EquiDyn": Entry(graphs.od_equidyn(size, keys[2]), RANDOM),
        "OU-EquiDyn": Entry(graphs.ou_equidyn(size, keys[3]), RANDOM),
        "EL-Oracle (2)": Entry(graphs.el_oracle(size, 2, keys[4]), RANDOM),
        "EL-Local (2)": Entry(graphs.el_local(size, 2, keys[5]), RANDOM),
        "randomized gossip": Entry(graphs.randomized_gossip(size, keys[6]), RANDOM),
        "relabelled ring": Entry(
            graphs.randomly_relabel(graphs.ring(size), keys[7]), RANDOM
        ),
    }


def _sides(size: int) -> tuple[int, int]:
    """Rows and columns of the torus that is nearest to a square."""
    rows = next(r for r in range(math.isqrt(size), 0, -1) if size % r == 0)
    return rows, size // rows


def _largest_prime_factor(number: int) -> int:
    factor = 2
    while number > 1:
        while number % factor == 0:
            number //= factor
            largest = factor
        factor += 1
    return largest
