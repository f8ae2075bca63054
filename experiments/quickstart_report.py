"""The table, the files and the figures of the quickstart."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

import tele_jax as tele
from experiments import results
from tele_jax import plot
from tele_jax.tasks import partition

if TYPE_CHECKING:
    from experiments.quickstart import Config, Outcome


def table(outcomes: "list[Outcome]") -> Table:
    """What is printed at the end: mean ± s.d. over the seeds, at the last round."""
    shown = Table(
        title="Test accuracy in %, mean ± s.d. over seeds",
        caption="mean model: all models averaged. each: mean over the live models.\n"
        "messages, gradients: of one run. time: all seeds, compiled, without the sweep."
        "\n"
        "All-reduce is counted as every node sending its model to every other.",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    shown.add_column("method", no_wrap=True)
    for column in (
        *("rate", "mean model", "each"),
        *("rounds", "messages", "gradients", "time"),
    ):
        shown.add_column(column, justify="right", no_wrap=True)
    for outcome in outcomes:
        measured = outcome.run.metrics
        shown.add_row(
            outcome.name,
            f"{outcome.learning_rate:.3g}",
            _spread(measured["accuracy"]),
            _spread(measured["slot_accuracy_mean"]),
            f"{int(outcome.run.rounds[0, -1]):,}",
            f"{messages(outcome)[:, -1].mean():,.0f}",
            f"{gradients(outcome)[-1]:,}",
            f"{outcome.seconds:.0f} s",
        )
    return shown


def messages(outcome: "Outcome") -> np.ndarray:
    """Models sent until each evaluation, int64[seeds, e]."""
    sent = tele.metrics.messages_sent(outcome.run.info)
    sent = np.concatenate([np.zeros_like(sent[:, :1]), sent], axis=1)
    return sent[:, np.asarray(outcome.run.rounds[0])]


def gradients(outcome: "Outcome") -> np.ndarray:
    """Gradients computed until each evaluation, over all nodes, int64[e]."""
    return outcome.num_slots * np.asarray(outcome.run.rounds[0], np.int64)


def figure(config: "Config", outcomes: "list[Outcome]") -> Figure:
    """Accuracy against rounds, messages and gradients."""
    drawn, panels = plt.subplots(
        1, 3, figsize=(12, 4.2), sharey=True, layout="constrained"
    )
    xs: dict[str, Any] = {
        "rounds": lambda outcome: np.asarray(outcome.run.rounds[0]),
        "messages (models sent)": lambda outcome: messages(outcome).mean(axis=0),
        "gradients (over all nodes)": gradients,
    }
    for axes, (xlabel, x) in zip(panels, xs.items(), strict=True):
        for key, style in (("accuracy", "-"), ("slot_accuracy_mean", ":")):
            lines = {
                o.name: (x(o), 100 * np.asarray(o.run.metrics[key])) for o in outcomes
            }
            plot.curves(
                lines,
                xlabel=xlabel,
                ylabel="",
                linestyle=style,
                logarithmic=xlabel != "rounds",
                axes=axes,
            )
    panels[0].set(ylabel="test accuracy (%)", ylim=(0, 100))
    drawn.suptitle(
        f"{config.dataset}, {config.model}, n = {config.num_nodes} nodes, "
        f"Dirichlet α = {config.alpha:g}, {config.num_seeds} seeds\n"
        "solid: mean model ± s.d.   dotted: mean over the live models",
        fontsize=11,
    )
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return drawn


def write(folder: Path, config: "Config", outcomes: "list[Outcome]", task: Any) -> None:
    """``summary.json``, ``metrics.parquet``, ``sweep.parquet`` and two figures."""
    results.write_json(folder / "summary.json", [_summary(o) for o in outcomes])
    results.write_table(
        folder / "metrics.parquet", [r for o in outcomes for r in _rows(o)]
    )
    results.write_table(
        folder / "sweep.parquet",
        [
            {"method": o.name, "learning_rate": rate, "validation_accuracy": accuracy}
            for o in outcomes
            for rate, accuracy in o.tried.items()
        ],
    )
    figure(config, outcomes).savefig(folder / "accuracy.png", dpi=150)
    owners = partition.Partition(np.asarray(task.index), np.asarray(task.sizes))
    counts = partition.label_counts(owners, np.asarray(task.labels), task.num_classes)
    title = f"{config.dataset}: labels per node, Dirichlet α = {config.alpha:g}"
    drawn, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
    plot.label_histogram(counts, axes=axes).set_title(title)
    drawn.savefig(folder / "labels.png", dpi=150)


def _summary(outcome: "Outcome") -> dict[str, Any]:
    sent = int(messages(outcome)[:, -1].sum())
    return {
        "method": outcome.name,
        "learning_rate": outcome.learning_rate,
        "rates_tried": outcome.tried,
        "accuracy": np.asarray(outcome.run.metrics["accuracy"][:, -1]).tolist(),
        "messages_all_seeds": sent,
        "bytes_all_seeds": sent * outcome.bytes_per_model,
        "gradients_per_seed": int(gradients(outcome)[-1]),
        "wall_seconds": outcome.seconds,
    }


def _rows(outcome: "Outcome") -> list[dict[str, Any]]:
    """One row per seed and evaluation."""
    rounds = np.asarray(outcome.run.rounds)
    measured = {k: np.asarray(v) for k, v in outcome.run.metrics.items()}
    sent = messages(outcome)
    return [
        {
            "method": outcome.name,
            "learning_rate": outcome.learning_rate,
            "seed": seed,
            "round": int(rounds[seed, e]),
            "messages": int(sent[seed, e]),
            "bytes": int(sent[seed, e]) * outcome.bytes_per_model,
            "gradients": int(gradients(outcome)[e]),
            **{name: float(values[seed, e]) for name, values in measured.items()},
        }
        for seed in range(rounds.shape[0])
        for e in range(rounds.shape[1])
    ]


def _spread(values: Any) -> str:
    last = 100 * np.asarray(values)[:, -1]
    deviation = last.std(ddof=min(1, len(last) - 1))
    return f"{last.mean():.1f} ± {deviation:.1f}"
