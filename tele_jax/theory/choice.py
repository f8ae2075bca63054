"""How many nodes to activate, and what is gained by it."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tele_jax import graphs
from tele_jax.theory import rates
from tele_jax.theory.constants import Constants, check_constants
from tele_jax.theory.rates import Rate
from tele_jax.topology import Topology


class Family(NamedTuple):
    """Topologies of all sizes."""

    build: Callable[[int], Topology]
    """k to a topology of k slots."""
    exponent: float
    """q of p_k = Ω(k^−q) per round, logarithms left out."""


FAMILIES: Mapping[str, Family] = {
    "ring": Family(graphs.ring, 2),
    "exponential": Family(graphs.exponential, 0),
    "1-peer exponential": Family(graphs.one_peer_exponential, 0),
    "Base-2": Family(lambda k: graphs.base_graph(k, 1), 0),
}
"""The families that the comparison is made for."""


class Choice(NamedTuple):
    """A number of active nodes, and the rate with it."""

    num_slots: int
    """k."""
    p: float
    """Contraction of a period of the topology of k slots."""
    period: int
    rate: Rate


def best_k(
    constants: Constants,
    build: Callable[[int], Topology],
    *,
    num_nodes: int,
    num_rounds: int,
    candidates: Sequence[int] | None = None,
) -> Choice:
    """The k whose rate of TELEPORTATION is smallest, by trying all candidates.

    The contraction of every topology is computed. The best k is that of a bound whose
    constants are 1: an order of magnitude, from which ``search`` may differ.

    Args:
      constants: of the task and the start.
      build: k to a topology of k slots.
      num_nodes: n.
      num_rounds: T.
      candidates: the k to try, all in 1..n; by default 1, 2, 4, … and n.

    Raises:
      ValueError: a number is out of its range, or there is no candidate.

    >>> problem = Constants(smoothness=1.0, gap=1.0, sigma2=1.0, zeta2=1.0)
    >>> settings = {"num_nodes": 512, "num_rounds": 1000}
    >>> best_k(problem, graphs.ring, **settings).num_slots
    4
    """
    if candidates is None:
        candidates = powers_of_two_and(num_nodes)
    if not len(candidates):
        raise ValueError("best_k: got no candidates, expected numbers in 1..n.")
    choices = []
    for k in candidates:
        p, period = rates.mixing_speed(build(k))
        rate = rates.teleportation(
            constants,
            num_nodes=num_nodes,
            num_slots=k,
            num_rounds=num_rounds,
            p=p,
            period=period,
        )
        choices.append(Choice(k, p, period, rate))
    return min(choices, key=lambda choice: choice.rate.total)


def closed_form_k(
    constants: Constants, *, num_nodes: int, num_rounds: int, exponent: float
) -> int:
    """⌈(s T/(L r₀))^{1/(3+2q)}⌉ with s = σ² + ζ², clipped to 1..n.

    The k that balances the terms where p_k = Ω(k^−q): the power 1/7 on a ring (q = 2),
    1/5 on a torus (q = 1), and 1/3 on exponential and Base-(k+1) graphs (q = 0), where
    logarithms are left out.

    Args:
      constants: of the task and the start.
      num_nodes: n.
      num_rounds: T.
      exponent: q ≥ 0.

    Raises:
      ValueError: a number is out of its range.

    Source: derived here from the rate of ``teleportation``.

    >>> problem = Constants(smoothness=1.0, gap=1.0, sigma2=1.0, zeta2=1.0)
    >>> settings = {"num_nodes": 512, "num_rounds": 10**6}
    >>> [closed_form_k(problem, **settings, exponent=q) for q in (2, 1, 0)]
    [8, 19, 126]
    """
    check_constants("closed_form_k", constants)
    for what, number in (("num_nodes", num_nodes), ("num_rounds", num_rounds)):
        if not number >= 1:
            raise ValueError(
                f"closed_form_k: got {what}={number}, expected at least 1."
            )
    if not exponent >= 0:
        raise ValueError(
            f"closed_form_k: got exponent={exponent}, expected a number that is not "
            "negative."
        )
    noise = (constants.sigma2 + constants.zeta2) * num_rounds
    scale = constants.smoothness * constants.gap
    ideal = (noise / scale) ** (1 / (3 + 2 * exponent)) if scale else math.inf
    return math.ceil(min(max(1, ideal), num_nodes))


def table(
    constants: Constants,
    *,
    num_nodes: int,
    num_rounds: int,
    families: Mapping[str, Family] = FAMILIES,
) -> str:
    """DSGD and TELEPORTATION with its best k on every family, as a Markdown table.

    Columns: k and the closed form of it; p / period, the speed at which slots agree;
    the three terms of ``Rate``, and their sum.

    Args:
      constants: of the task and the start.
      num_nodes: n.
      num_rounds: T.
      families: name to family.

    Raises:
      ValueError: a number is out of its range.

    >>> problem = Constants(smoothness=1.0, gap=1.0, sigma2=1.0, zeta2=1.0)
    >>> shown = table(problem, num_nodes=64, num_rounds=10**4)
    >>> print(shown.splitlines()[3])
    | TELEPORTATION, ring | 4 | 5 | 0.889 | 0.0070 | 0.0014 | 0.0001 | 0.0085 |
    """
    titles = ("method", "k", "closed form", "p / period", "statistical", "consensus")
    rows = [[*titles, "deterministic", "sum"]]

    def add(name: str, choice: Choice, closed: str = "") -> None:
        p = f"{choice.p / choice.period:.3g}"
        terms = [f"{term:.4f}" for term in (*choice.rate, choice.rate.total)]
        rows.append([name, str(choice.num_slots), closed, p, *terms])

    def all_nodes(p: float, period: int) -> Choice:
        rate = rates.dsgd(
            constants, num_nodes=num_nodes, num_rounds=num_rounds, p=p, period=period
        )
        return Choice(num_nodes, p, period, rate)

    for name, (build, exponent) in families.items():
        add(f"DSGD, {name}", all_nodes(*rates.mixing_speed(build(num_nodes))))
        best = best_k(constants, build, num_nodes=num_nodes, num_rounds=num_rounds)
        closed = closed_form_k(
            constants, num_nodes=num_nodes, num_rounds=num_rounds, exponent=exponent
        )
        add(f"TELEPORTATION, {name}", best, str(closed))
    add("All-reduce SGD", all_nodes(1.0, 1))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "| --- " * len(rows[0]) + "|", *lines[1:]])


def powers_of_two_and(num_nodes: int) -> list[int]:
    """1, 2, 4, … up to n, and n."""
    if num_nodes < 1:
        raise ValueError(f"best_k: got num_nodes={num_nodes}, expected at least 1.")
    return sorted({2**j for j in range(num_nodes.bit_length())} | {num_nodes})
