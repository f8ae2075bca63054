"""The tables, the files and the figures of the synthetic study."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt

from experiments import results
from experiments.synthetic_cells import Choice, Row
from experiments.synthetic_figures import (
    MEASURES,
    Measure,
    against_k,
    against_nodes,
    best_of,
    with_all_active,
)

if TYPE_CHECKING:
    from experiments.synthetic import Config


def text(config: "Config", rows: list[Row], choices: list[Choice]) -> str:
    """Markdown: rounds of every method, and the choices of k."""
    parts = []
    for sigma2, zeta2 in config.noise:
        cell = [row for row in rows if (row.sigma2, row.zeta2) == (sigma2, zeta2)]
        parts += [
            f"## σ² = {sigma2:g}, ζ² = {zeta2:g}",
            "",
            "Rounds to the target, median of the seeds (fastest to slowest seed); in "
            "brackets k, the one with the fewest rounds, and the step size. * the "
            "largest of the grid.",
            "",
            _table(best_of(with_all_active(cell), MEASURES["rounds"]), config, _told),
            "",
        ]
        for name in ("gradients", "messages"):
            parts += [
                f"{name.capitalize()} to the target; in brackets k, the one with the "
                f"fewest {name}.",
                "",
                _table(
                    best_of(with_all_active(cell), MEASURES[name]), config, _WORK[name]
                ),
                "",
            ]
    parts += [
        *("## Choosing k", ""),
        "Algorithm 2 takes the k with the smallest ‖∇f(x̄)‖² after T rounds. Rounds: "
        "one seed after the other chooses k (by its own fewest rounds, or by Algorithm "
        "2), the others judge it, with the best step size for that k; median. "
        f"Algorithm 2 takes at most 2T = {2 * config.num_rounds:,} rounds for each "
        f"step size and seed; the grid of {len(config.rates)} step sizes costs so many "
        "times that.",
        *("", _choice_table(config, choices), ""),
    ]
    return "\n".join(parts)


def _table(
    rows: list[Row], config: "Config", tell: Callable[["Config", Row], str]
) -> str:
    """Methods against n."""
    labels = list(dict.fromkeys(row.label for row in rows))
    sizes = sorted({row.num_nodes for row in rows})
    found = {(row.label, row.num_nodes): row for row in rows}
    lines = [
        f"| method | {' | '.join(f'n = {n:,}' for n in sizes)} |",
        "| --- " * (len(sizes) + 1) + "|",
    ]
    for label in labels:
        known = [found.get((label, n)) for n in sizes]
        told = ["–" if row is None else tell(config, row) for row in known]
        lines.append(f"| {label} | {' | '.join(told)} |")
    return "\n".join(lines)


def _work(measure: Measure) -> Callable[["Config", Row], str]:
    def tell(config: "Config", row: Row) -> str:
        if math.isinf(row.rounds):
            return f"> {config.num_rounds:,} rounds"
        k = f" [{row.num_active}]" if row.label.startswith("TELEPORTATION") else ""
        return f"{measure(row):,.0f}{k}"

    return tell


_WORK = {name: _work(MEASURES[name]) for name in ("gradients", "messages")}


def _told(config: "Config", row: Row) -> str:
    if math.isinf(row.rounds):
        return f"> {config.num_rounds:,}"
    slowest = f"> {config.num_rounds:,}" if row.missed else f"{row.rounds_max:.0f}"
    edge = "*" if row.rate == max(config.rates) else ""
    shown = f"{row.rounds:.0f} ({row.rounds_min:.0f} to {slowest})"
    k = f"{row.num_active}, " if row.label.startswith("TELEPORTATION") else ""
    return f"{shown} [{k}{row.rate:g}{edge}]"


def _choice_table(config: "Config", choices: list[Choice]) -> str:
    titles = [
        *("graph", "n", "σ²", "ζ²", "best k", "rounds, k of a seed"),
        *("k of theory", "closed form", "rounds, k of theory"),
        *("k of Algorithm 2, per seed", "rounds, k of Algorithm 2"),
        "its cost over that of all k one by one",
    ]
    lines = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]

    def rounds(number: float) -> str:
        return f"> {config.num_rounds:,}" if math.isinf(number) else f"{number:g}"

    for c in choices:
        cells = (
            *(c.graph, f"{c.num_nodes:,}", f"{c.sigma2:g}", f"{c.zeta2:g}"),
            *("–" if not c.grid_k else f"{c.grid_k}", rounds(c.grid_rounds)),
            *(f"{c.theory_k}", f"{c.closed_k}", rounds(c.theory_rounds)),
            *(", ".join(map(str, c.search_ks)), rounds(c.search_rounds)),
            f"{c.search_cost:.0%}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(
    folder: Path, config: "Config", rows: list[Row], choices: list[Choice], text: str
) -> None:
    """``table.md``, ``rows.parquet``, ``choices.parquet`` and two figures."""
    (folder / "table.md").write_text(text)
    measured = [
        {
            **dataclasses.asdict(row),
            "gradients": row.gradients,
            "messages": row.messages,
        }
        for row in rows
    ]
    results.write_table(folder / "rows.parquet", measured)
    results.write_table(
        folder / "choices.parquet", [dataclasses.asdict(choice) for choice in choices]
    )
    figures = {
        "nodes.png": against_nodes(config, rows),
        "k.png": against_k(config, rows, choices),
    }
    for name, drawn in figures.items():
        drawn.savefig(folder / name, dpi=150)
        plt.close(drawn)
