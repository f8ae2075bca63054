"""The table, the file and the figure of the scan for a best k inside 1..n."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments import results
from tele_jax.plot import COLOURS

if TYPE_CHECKING:
    from experiments.interior_k import Config


class Curve(NamedTuple):
    """Excess against k, in one setting."""

    graph: str
    heterogeneity: float
    batch_size: int
    num_rounds: int
    ks: tuple[int, ...]
    excess: np.ndarray
    """float64[k]: mean over the seeds of f(x̄) − f*, with the best step size."""
    error: np.ndarray
    """float64[k]: its standard error."""
    rate: np.ndarray
    """float64[k]: that step size."""
    theory_k: int

    @property
    def best_k(self) -> int:
        """The k with the least excess."""
        return self.ks[int(np.nanargmin(self.excess))]

    @property
    def is_interior(self) -> bool:
        """The best k is better than 1 and the largest, by over 2 standard errors.

        Where one of the two diverged, the best is better than it.
        """
        best = int(np.nanargmin(self.excess))
        gaps = self.excess[[0, -1]] - self.excess[best]
        spreads = np.hypot(self.error[[0, -1]], self.error[best])
        is_end = best in (0, len(self.ks) - 1)
        return not is_end and bool((~(gaps <= 2 * spreads)).all())


def table(found: list[Curve]) -> str:
    """One line per setting."""
    lines = [
        "| graph | ζ | batch | T | best k | step size | excess there | excess at the "
        "largest k | inside? | k of theory |",
        "| --- " * 10 + "|",
    ]
    for c in found:
        best = c.ks.index(c.best_k)
        lines.append(
            f"| {c.graph} | {c.heterogeneity:g} | {c.batch_size} | {c.num_rounds} "
            f"| {c.best_k} | {c.rate[best]:g} "
            f"| {c.excess[best]:.2e} ± {c.error[best]:.1e} "
            f"| {c.excess[-1]:.2e} ± {c.error[-1]:.1e} "
            f"| {'yes' if c.is_interior else 'no'} | {c.theory_k} |"
        )
    inside = sum(c.is_interior for c in found)
    lines += ["", f"{inside} of {len(found)} settings have their best k inside."]
    return "\n".join(lines)


def figure(config: "Config", found: list[Curve]) -> Figure:
    """Excess against k, one panel per ζ and batch, on the first topology."""
    graph = found[0].graph
    drawn, grid = plt.subplots(
        len(config.batch_size),
        len(config.heterogeneity),
        figsize=(4.2 * len(config.heterogeneity), 3.2 * len(config.batch_size) + 1),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    places = itertools.product(config.batch_size, config.heterogeneity)
    for axes, (batch, zeta) in zip(grid.flat, places, strict=True):
        mine = [c for c in found if (c.graph, c.batch_size) == (graph, batch)]
        for c, colour in zip(
            [c for c in mine if c.heterogeneity == zeta], COLOURS, strict=False
        ):
            label = f"T = {c.num_rounds}"
            axes.errorbar(
                c.ks, c.excess, c.error, color=colour, marker=".", label=label
            )
            place = c.ks.index(c.theory_k)
            axes.plot(c.theory_k, c.excess[place], "*", color=colour, markersize=13)
        axes.set(xscale="log", yscale="log", title=f"ζ = {zeta:g}, batch {batch}")
        axes.set_xscale("log", base=2)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel("active nodes k")
    for axes in grid[:, 0]:
        axes.set_ylabel("f(x̄) − f*")
    grid[0, 0].legend(frameon=False)
    drawn.suptitle(
        f"TELEPORTATION on a {graph}, logistic regression, n = {config.num_nodes:,}.  "
        "Star: k of theory."
    )
    return drawn


def write(folder: Path, config: "Config", found: list[Curve]) -> None:
    """``table.md``, ``curves.parquet`` and a figure."""
    (folder / "table.md").write_text(table(found) + "\n")
    results.write_table(
        folder / "curves.parquet",
        [
            {name: np.asarray(value).tolist() for name, value in c._asdict().items()}
            for c in found
        ],
    )
    drawn = figure(config, found)
    drawn.savefig(folder / "interior_k.png", dpi=150)
    plt.close(drawn)
