"""Many topologies side by side, in numbers."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tele_jax.analysis.cost import degrees
from tele_jax.analysis.speed import contraction, exact_after, expected_contraction
from tele_jax.topology import Topology

_ROUNDING = 1e-6
"""Errors below are rounding of float32 weights."""
_NOTHING = 1e-11
"""A contraction below is rounding of float64."""


def predicted_rounds(topology: Topology, epsilon: float) -> int | None:
    """Rounds of gossip after which ‖X − X̄‖ ≤ ε ‖X⁰ − X̄‖ is certain.

    The rounds of an exact average, or τ ⌈2 ln ε / ln(1 − p)⌉ with the contraction p of
    a period of τ rounds, whichever is fewer. X̄ is the mean that doubly stochastic W
    preserve. As certain as p is: above 2,048 slots ``contraction`` approaches it from
    above, and for random rounds the inequality is one of root mean squares, with the
    estimated p of a round. Where only columns sum to 1 (``el_local``) the slots agree
    on a mean that has moved.

    Returns:
      The rounds, or None if they need not bring the slots closer (p ≤ 0).

    Raises:
      ValueError: ε is not in (0, 1).

    >>> from tele_jax import graphs
    >>> predicted_rounds(graphs.ring(16), 1e-3)
    133
    """
    if not 0 < epsilon < 1:
        raise ValueError(
            f"predicted_rounds: got epsilon={epsilon}, expected 0 < epsilon < 1."
        )
    return _predicted(
        topology.period, exact_after(topology), _of_period(topology), epsilon
    )


def _of_period(topology: Topology) -> float:
    if topology.period is None:
        return expected_contraction(topology).value
    return contraction(topology)


def _predicted(
    period: int | None, exact: int | None, p: float, epsilon: float
) -> int | None:
    if epsilon < _ROUNDING:  # exact means exact up to this
        exact = None
    bound = None
    if p > (_NOTHING if period else _ROUNDING):  # random rounds: in float32
        shrink = math.log(max(1 - p, 1e-300))
        bound = (period or 1) * math.ceil(2 * math.log(epsilon) / shrink)
    known = [rounds for rounds in (exact, bound) if rounds is not None]
    return min(known) if known else None


class Summary(NamedTuple):
    """A row of ``table``."""

    num_slots: int
    period: int | None
    """None: random rounds."""
    in_degree_max: int
    out_degree_max: int
    messages: float
    """Models sent per round, on average."""
    contraction_of_round: float
    """The mean over the rounds of a period; the expected one of random rounds."""
    contraction: float
    """Of a period; the expected one of a random round."""
    exact_after: int | None
    """Rounds to an exact average."""
    rounds: int | None
    """``predicted_rounds`` to ε."""


def summary(topology: Topology, epsilon: float = 1e-3) -> Summary:
    """All that is here about one topology.

    >>> from tele_jax import graphs
    >>> summary(graphs.one_peer_exponential(8)).exact_after
    3
    """
    of_slots, exact, p = degrees(topology), exact_after(topology), _of_period(topology)
    each = p
    if topology.period is not None:
        one_by_one = [
            contraction(topology, start=t, num_rounds=1) for t in range(topology.period)
        ]
        each = float(np.mean(one_by_one))
    return Summary(
        num_slots=topology.num_slots,
        period=topology.period,
        in_degree_max=of_slots.in_max,
        out_degree_max=of_slots.out_max,
        messages=of_slots.mean * topology.num_slots,
        contraction_of_round=each,
        contraction=p,
        exact_after=exact,
        rounds=_predicted(topology.period, exact, p, epsilon),
    )


def table(topologies: Mapping[str, Topology | Summary], epsilon: float = 1e-3) -> str:
    """A Markdown table of many topologies, one row each.

    Args:
      topologies: name to topology, or to its ``summary`` for the same ε.
      epsilon: ε of the last column, in (0, 1).

    Raises:
      ValueError: the topologies have no names.

    >>> from tele_jax import graphs
    >>> print(table({"ring": graphs.ring(8)}).splitlines()[2])
    | ring | 8 | 1 | 2 | 2 | 16 | 0.3524 | 0.3524 | – | 32 |
    """
    if not isinstance(topologies, Mapping):
        raise ValueError(
            f"table: got a {type(topologies).__name__}, expected names to topologies: "
            'table({"ring": graphs.ring(8)}).'
        )
    titles = ("topology", "k", "period", "in", "out", "messages", "p, round")
    rows = [(*titles, "p, period", "exact", f"to {epsilon:g}")]
    for name, topology in topologies.items():
        s = topology
        if not isinstance(s, Summary):
            s = summary(s, epsilon)
        rows.append(
            (
                name,
                f"{s.num_slots:,}",
                "random" if s.period is None else str(s.period),
                str(s.in_degree_max),
                str(s.out_degree_max),
                f"{s.messages:,.4g}",
                _unsigned(s.contraction_of_round),
                _unsigned(s.contraction),
                "–" if s.exact_after is None else str(s.exact_after),
                "–" if s.rounds is None else f"{s.rounds:,}",
            )
        )
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "| --- " * len(rows[0]) + "|", *lines[1:]])


def _unsigned(p: float) -> str:
    """Four digits, and no −0."""
    return f"{round(p, 4) + 0.0:.4f}"
