"""The table, the file and the figure of the study of many nodes."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from experiments import results
from experiments.machine import bytes_told
from tele_jax import plot

if TYPE_CHECKING:
    from experiments.many_nodes import Config

Method = Literal["DSGD", "TELEPORTATION"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one method did with one number of nodes."""

    method: Method
    num_nodes: int
    num_slots: int
    """Live models."""
    start_seconds: float
    """To split the images and to make the task."""
    round_seconds: float
    """Of a round after the first ones, without evaluations: of one timed call."""
    model_bytes: int
    """All live models."""
    data_bytes: int
    """Images and tables of who owns which."""
    peak_bytes: int
    """The most that the process had in memory until then."""
    rounds: tuple[int, ...]
    """When it was evaluated."""
    accuracy: tuple[float, ...]
    """Of the mean model, on all test images."""
    distance: tuple[float, ...]
    """Consensus distance (1/k) Σ ‖x_a − x̄‖²."""

    @property
    def label(self) -> str:
        """The method as tables and figures call it."""
        k = f", k = {self.num_slots}" if self.method == "TELEPORTATION" else ""
        return f"{self.method}, n = {self.num_nodes:,}{k}"


def table(outcomes: list[Outcome]) -> str:
    """One line per method and number of nodes."""
    lines = [
        "| method | live models | split and index, s | rounds/s | models | data | "
        "process, peak so far | test accuracy |",
        "| --- " * 8 + "|",
    ]
    for o in outcomes:
        lines.append(
            f"| {o.label} | {o.num_slots:,} | {o.start_seconds:.1f} "
            f"| {1 / o.round_seconds:.3g} | {bytes_told(o.model_bytes)} "
            f"| {bytes_told(o.data_bytes)} | {bytes_told(o.peak_bytes)} "
            f"| {100 * o.accuracy[-1]:.1f} % |"
        )
    return "\n".join(lines)


def figure(config: "Config", outcomes: list[Outcome]) -> Figure:
    """Accuracy of the mean model, and the distance between models, against rounds."""
    drawn, panels = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    colours = plot.colours(outcome.label for outcome in outcomes)
    for axes, name, ylabel in (
        (panels[0], "accuracy", "test accuracy of the mean model"),
        (panels[1], "distance", "consensus distance (1/k) Σ ‖x_a − x̄‖²"),
    ):
        for outcome in outcomes:
            axes.plot(
                outcome.rounds,
                getattr(outcome, name),
                color=colours[outcome.label],
                marker=".",
                linestyle="-" if outcome.method == "DSGD" else "--",
                label=outcome.label,
            )
        axes.set(xlabel="rounds", ylabel=ylabel)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(bottom=0)
    drawn.suptitle(
        f"{config.dataset}, {config.model}, {config.graph}, Dirichlet α = "
        f"{config.alpha:g}, batch {config.batch_size}, η = {config.learning_rate:g}",
        fontsize=11,
    )
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(
        handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9
    )
    return drawn


def write(folder: Path, config: "Config", outcomes: list[Outcome]) -> str:
    """Write ``table.md``, ``runs.parquet`` and ``many_nodes.png``; give the table."""
    text = table(outcomes)
    (folder / "table.md").write_text(text + "\n")
    results.write_table(
        folder / "runs.parquet", [dataclasses.asdict(o) for o in outcomes]
    )
    drawn = figure(config, outcomes)
    drawn.savefig(folder / "many_nodes.png", dpi=150)
    plt.close(drawn)
    return text
