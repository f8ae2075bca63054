"""The tables, the files and the figures of the synthetic study."""

import dataclasses
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import results
from experiments.synthetic_cells import Choice, Row
from tele_jax.plot import COLOURS

if TYPE_CHECKING:
    from experiments.synthetic import Config

_STYLE = {
    "ring": COLOURS[0],
    "exponential": COLOURS[1],
    "1-peer exponential": COLOURS[3],
    "Base-2": COLOURS[4],
    "complete": COLOURS[2],
}
_AXES: dict[str, Callable[[Row], float]] = {
    "rounds": lambda row: row.rounds,
    "gradients": lambda row: row.gradients,
    "messages": lambda row: row.messages,
}
"""What a study is read in: rounds are time, the others are work."""


def best_of(rows: Iterable[Row], measure: Callable[[Row], float]) -> list[Row]:
    """Per label, n and cell the row that needs the least; of equals the smaller k."""
    best: dict[tuple[object, ...], Row] = {}
    for row in rows:
        key = (row.label, row.num_nodes, row.sigma2, row.zeta2)
        if key not in best or measure(row) < measure(best[key]):
            best[key] = row
    return list(best.values())


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
            _rounds_table(config, best_of(cell, _AXES["rounds"])),
            "",
        ]
    parts += ["## Choosing k", "", _choice_table(config, choices), ""]
    return "\n".join(parts)


def _rounds_table(config: "Config", rows: list[Row]) -> str:
    labels = list(dict.fromkeys(row.label for row in rows))
    sizes = sorted({row.num_nodes for row in rows})
    found = {(row.label, row.num_nodes): row for row in rows}
    lines = [
        f"| method | {' | '.join(f'n = {n:,}' for n in sizes)} |",
        "| --- " * (len(sizes) + 1) + "|",
    ]
    for label in labels:
        told = [_told(config, found.get((label, n))) for n in sizes]
        lines.append(f"| {label} | {' | '.join(told)} |")
    return "\n".join(lines)


def _told(config: "Config", row: Row | None) -> str:
    if row is None:
        return "–"
    if math.isinf(row.rounds):
        return f"> {config.num_rounds:,}"
    slowest = f"> {config.num_rounds:,}" if row.missed else f"{row.rounds_max:.0f}"
    edge = "*" if row.rate == max(config.rates) else ""
    shown = f"{row.rounds:.0f} ({row.rounds_min:.0f} to {slowest})"
    k = f"{row.num_active}, " if row.label.startswith("TELEPORTATION") else ""
    return f"{shown} [{k}{row.rate:g}{edge}]"


def _choice_table(config: "Config", choices: list[Choice]) -> str:
    titles = [
        *("graph", "n", "σ²", "ζ²", "k of the grid", "rounds"),
        *("k of theory", "closed form", "rounds"),
        *("k of Algorithm 2, per seed", "rounds", "its share of the rounds"),
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


def against_nodes(config: "Config", rows: list[Row]) -> Figure:
    """Rounds, gradients and messages against n, one column per cell."""
    figure, grid = plt.subplots(
        3,
        len(config.noise),
        figsize=(4.6 * len(config.noise) + 1, 10),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for column, (sigma2, zeta2) in zip(grid.T, config.noise, strict=True):
        cell = [row for row in rows if (row.sigma2, row.zeta2) == (sigma2, zeta2)]
        column[0].set_title(f"σ² = {sigma2:g}, ζ² = {zeta2:g}")
        for axes, (name, measure) in zip(column, _AXES.items(), strict=True):
            _lines(axes, best_of(cell, measure), measure)
            axes.set(xscale="log", yscale="log")
            axes.grid(alpha=0.25, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            if name == "rounds":
                axes.axhline(config.num_rounds, color="#999999", linewidth=0.8)
        column[-1].set_xlabel("nodes n")
    for axes, name in zip(grid[:, 0], _AXES, strict=True):
        axes.set_ylabel(f"{name} to the target")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(
        f"Work until ‖∇f(x̄)‖² ≤ {config.target:g}, with the best step size, and the k "
        f"that needs least.  Lines end where {config.num_rounds:,} rounds are too few."
    )
    return figure


def _lines(axes: Axes, rows: list[Row], measure: Callable[[Row], float]) -> None:
    for label in dict.fromkeys(row.label for row in rows):
        mine = sorted(
            (row for row in rows if row.label == label), key=lambda row: row.num_nodes
        )
        ours = label.startswith("TELEPORTATION")
        scale = [measure(row) / row.rounds for row in mine]
        low = np.array([row.rounds_min for row in mine]) * scale
        high = np.array([row.rounds_max for row in mine]) * scale
        sizes = [row.num_nodes for row in mine]
        reached = np.array([math.isfinite(row.rounds) for row in mine])
        values = np.where(reached, [measure(row) for row in mine], np.nan)
        colour = _STYLE[mine[0].graph]
        axes.plot(
            sizes,
            values,
            color=colour,
            linestyle="-" if ours else ("--" if label.startswith("DSGD") else ":"),
            marker="o" if ours else "s",
            markersize=4,
            linewidth=1.8,
            label=label,
        )
        whole = reached & np.isfinite(high)
        axes.fill_between(
            sizes, low, np.where(whole, high, np.nan), color=colour, alpha=0.12, lw=0
        )


def against_k(config: "Config", rows: list[Row], choices: list[Choice]) -> Figure:
    """Rounds, and gradients, against k at the largest n, with the choices of k."""
    n = max(choice.num_nodes for choice in choices)
    figure, grid = plt.subplots(
        2,
        len(config.noise),
        figsize=(4.6 * len(config.noise) + 1, 7.5),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for column, cell in zip(grid.T, config.noise, strict=True):
        column[0].set_title(f"σ² = {cell[0]:g}, ζ² = {cell[1]:g}")
        for choice in choices:
            if (choice.num_nodes, choice.sigma2, choice.zeta2) != (n, *cell):
                continue
            mine = [
                row
                for row in rows
                if row.label == f"TELEPORTATION, {choice.graph}"
                and (row.num_nodes, row.sigma2, row.zeta2) == (n, *cell)
            ]
            for axes, measure in zip(column, list(_AXES.values())[:2], strict=True):
                _of_k(axes, mine, choice, measure)
        column[-1].set_xlabel("active nodes k")
    for axes, name in zip(grid[:, 0], _AXES, strict=False):
        axes.set_ylabel(f"{name} to the target")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(
        f"TELEPORTATION, n = {n:,}.  Star: k with the smallest bound of theory.  "
        "Ring: k of Algorithm 2, one per seed."
    )
    return figure


def _of_k(
    axes: Axes, rows: list[Row], choice: Choice, measure: Callable[[Row], float]
) -> None:
    shown = {row.num_active: measure(row) for row in rows if math.isfinite(row.rounds)}
    colour = _STYLE[choice.graph]
    label = f"TELEPORTATION, {choice.graph}"
    axes.plot(list(shown), list(shown.values()), ".-", color=colour, label=label)
    for ks, marker, size in (
        ((choice.theory_k,), "*", 14),
        (choice.search_ks, "o", 10),
    ):
        known = [k for k in ks if k in shown]
        axes.plot(
            known,
            [shown[k] for k in known],
            marker,
            color=colour,
            markersize=size,
            fillstyle="full" if marker == "*" else "none",
            linestyle="none",
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


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
