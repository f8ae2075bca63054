"""The figures of the synthetic study."""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.synthetic_cells import Choice, Row
from tele_jax.plot import COLOURS

if TYPE_CHECKING:
    from experiments.synthetic import Config

Measure = Callable[[Row], float]

MEASURES: dict[str, Measure] = {
    "rounds": lambda row: row.rounds,
    "gradients": lambda row: row.gradients,
    "messages": lambda row: row.messages,
}
"""What a study is read in: rounds are time, the others are work."""
_COLOUR = {
    "ring": COLOURS[0],
    "exponential": COLOURS[1],
    "1-peer exponential": COLOURS[3],
    "Base-2": COLOURS[4],
    "complete": COLOURS[2],
}
_WIDTH = {"ring": 4.2, "exponential": 2.8}
"""Lines that often lie on each other: the wide ones below."""
_APART = 1.17
"""Factor from one triangle of ``_miss`` to the next one above it."""


def best_of(rows: Iterable[Row], measure: Measure) -> list[Row]:
    """Per label, n and cell the row that needs the least; of equals the smaller k."""
    best: dict[tuple[object, ...], Row] = {}
    for row in rows:
        key = (row.label, row.num_nodes, row.sigma2, row.zeta2)
        if key not in best or measure(row) < measure(best[key]):
            best[key] = row
    return list(best.values())


def with_all_active(rows: list[Row]) -> list[Row]:
    """The rows, and the ablation: a ring of all nodes, relabelled in every round."""
    label = "TELEPORTATION, ring"
    return rows + [
        dataclasses.replace(row, label=f"{label}, k = n")
        for row in rows
        if row.label == label and row.num_active == row.num_nodes
    ]


def against_nodes(config: "Config", rows: list[Row]) -> Figure:
    """Rounds, gradients and messages against n, one column per cell."""
    figure, grid = _grid(config, 3)
    places = _places(with_all_active(rows))
    for column, cell in zip(grid.T, config.noise, strict=True):
        mine = [row for row in rows if (row.sigma2, row.zeta2) == cell]
        for axes, (name, measure) in zip(column, MEASURES.items(), strict=True):
            shown = best_of(with_all_active(mine), measure)
            for label in dict.fromkeys(row.label for row in shown):
                line = [row for row in shown if row.label == label]
                _line(axes, sorted(line, key=lambda row: row.num_nodes), measure)
            for row in shown:
                if math.isinf(row.rounds):
                    _miss(axes, row.num_nodes, row, name, config, places)
            axes.set_xscale("log", base=2)
        column[-1].set_xlabel("nodes n")
    _legend(figure, grid)
    figure.suptitle(
        f"Work until ‖∇f(x̄)‖² ≤ {config.target:g}, with the best step size, and the k "
        f"that needs least.\n{_MISSES.format(config.num_rounds)}"
    )
    return figure


_MISSES = (
    "Triangles (filled: TELEPORTATION): {:,} rounds are too few, so the truth is above."
)


def _places(rows: list[Row]) -> dict[str, int]:
    """The labels that miss somewhere, numbered."""
    missing = [row.label for row in rows if math.isinf(row.rounds)]
    return {label: place for place, label in enumerate(dict.fromkeys(missing))}


def _miss(
    axes: Axes,
    x: float,
    row: Row,
    name: str,
    config: "Config",
    places: dict[str, int],
) -> float:
    """A triangle for a row that missed; returns its height.

    Rounds are one above the other, as all that is known of them is that they are more
    than T. Work is at what T rounds cost, in sizes that show what lies below.
    """
    place = places[row.label]
    height = MEASURES[name](dataclasses.replace(row, rounds=config.num_rounds))
    if name == "rounds":
        axes.axhline(config.num_rounds, color="#999999", linewidth=0.8)
        height *= _APART ** (place + 1)
    axes.plot(
        x,
        height,
        "^",
        color=_COLOUR[row.graph],
        fillstyle="full" if row.label.startswith("TELEPORTATION") else "none",
        markersize=5 if name == "rounds" else 5 + 2 * place,
    )
    return height


def _line(axes: Axes, rows: list[Row], measure: Measure) -> None:
    """One method over n, with a band from the fastest to the slowest seed."""
    label, graph = rows[0].label, rows[0].graph
    style, marker, width = _drawn(label, graph)
    reached = np.array([math.isfinite(row.rounds) for row in rows])
    low, high = (
        [measure(dataclasses.replace(row, rounds=getattr(row, end))) for row in rows]
        for end in ("rounds_min", "rounds_max")
    )
    known = reached & np.array([row.missed == 0 for row in rows])
    sizes = [row.num_nodes for row in rows]
    axes.plot(
        sizes,
        np.where(reached, [measure(row) for row in rows], np.nan),
        color=_COLOUR[graph],
        linestyle=style,
        marker=marker,
        markersize=4,
        linewidth=width,
        label=label,
    )
    axes.fill_between(
        sizes, low, high, where=known, color=_COLOUR[graph], alpha=0.12, lw=0
    )


def _drawn(label: str, graph: str) -> tuple[str, str, float]:
    """Line style, marker and width of a method."""
    if label.endswith("k = n"):
        return "-.", "x", 1.2
    if label.startswith("TELEPORTATION"):
        return "-", "o", _WIDTH.get(graph, 1.4)
    return ("--" if label.startswith("DSGD") else ":"), "s", 1.6


def against_k(config: "Config", rows: list[Row], choices: list[Choice]) -> Figure:
    """Rounds, and gradients, against k at the largest n, with the choices of k."""
    n = max(choice.num_nodes for choice in choices)
    figure, grid = _grid(config, 2)
    shown = [row for row in rows if row.label.startswith("TELEPORTATION")]
    shown = [row for row in shown if row.num_nodes == n]
    places = _places(shown)
    for column, cell in zip(grid.T, config.noise, strict=True):
        for choice in choices:
            if (choice.num_nodes, choice.sigma2, choice.zeta2) != (n, *cell):
                continue
            mine = [
                row
                for row in shown
                if (row.graph, row.sigma2, row.zeta2) == (choice.graph, *cell)
            ]
            for axes, name in zip(column, ("rounds", "gradients"), strict=True):
                heights = _of_k(axes, mine, name, config, places)
                _marks(axes, choice, heights)
        column[-1].set_xlabel("active nodes k")
    _legend(figure, grid)
    figure.suptitle(
        f"TELEPORTATION, n = {n:,}.  Star: k with the smallest bound of theory.  "
        f"Open circle: k of Algorithm 2.\n{_MISSES.format(config.num_rounds)}"
    )
    return figure


def _of_k(
    axes: Axes, rows: list[Row], name: str, config: "Config", places: dict[str, int]
) -> dict[int, float]:
    """One graph's line over k; returns the height of every k."""
    reached = [row for row in rows if math.isfinite(row.rounds)]
    heights = {row.num_active: MEASURES[name](row) for row in reached}
    axes.plot(
        list(heights),
        list(heights.values()),
        ".-",
        color=_COLOUR[rows[0].graph],
        label=rows[0].label,
        linewidth=_WIDTH.get(rows[0].graph, 1.4),
    )
    axes.set_xscale("log", base=2)
    for row in rows:
        if math.isinf(row.rounds):
            heights[row.num_active] = _miss(
                axes, row.num_active, row, name, config, places
            )
    return heights


def _marks(axes: Axes, choice: Choice, heights: dict[int, float]) -> None:
    """The k of theory and those of Algorithm 2."""
    width = _WIDTH.get(choice.graph, 1.4)
    found = [k for k in choice.search_ks if k]  # 0: all candidates diverged
    for ks, marker, fill in (([choice.theory_k], "*", "full"), (found, "o", "none")):
        axes.plot(
            ks,
            [heights[k] for k in ks],
            marker,
            color=_COLOUR[choice.graph],
            markersize=7 + 2 * width,
            fillstyle=fill,
        )


def _grid(config: "Config", num_rows: int) -> tuple[Figure, np.ndarray]:
    """One column per cell, one row per measure."""
    columns = len(config.noise)
    figure, grid = plt.subplots(
        num_rows,
        columns,
        figsize=(4.4 * columns + 1.5, 2.9 * num_rows + 1.4),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for axes, (sigma2, zeta2) in zip(grid[0], config.noise, strict=True):
        axes.set_title(f"σ² = {sigma2:g}, ζ² = {zeta2:g}")
    for axes, name in zip(grid[:, 0], MEASURES, strict=False):
        axes.set_ylabel(f"{name} to the target")
    for axes in grid.flat:
        axes.set_yscale("log")
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, grid


def _legend(figure: Figure, grid: np.ndarray) -> None:
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
