"""The table, the files and the figures of the consensus study."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import results
from experiments.consensus_graphs import PERIODIC, RANDOM, STATIC
from tele_jax import analysis, plot

if TYPE_CHECKING:
    from experiments.consensus import Config, Outcome


_TITLES = {
    STATIC: "Static: one graph",
    PERIODIC: "Periodic: graphs in turn",
    RANDOM: "Random: another graph every round",
}


def text(
    config: "Config", size: int, outcomes: "list[Outcome]", remarks: list[str]
) -> str:
    """What is printed: a table of all, and one of the finite-time graphs."""
    rows = [
        f"| {o.name} | {exact} | {o.trajectory.errors[exact - 1]:.2g} "
        f"| {o.trajectory.errors[exact]:.2g} |"
        for o in outcomes
        if (exact := o.summary.exact_after) is not None
    ]
    return "\n".join(
        [
            f"## {size} slots",
            "",
            analysis.table({o.name: o.summary for o in outcomes}, config.epsilon),
            "",
            *(f"- {remark}" for remark in remarks),
            *([""] if remarks else []),
            "Exact averages, as predicted: the error falls to rounding in that round.",
            "",
            "| topology | exact after | error one round before | error there |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def figure(config: "Config", outcomes: "list[Outcome]") -> Figure:
    """Consensus errors against rounds and messages, one column per kind of rounds."""
    size, length = outcomes[0].summary.num_slots, config.num_rounds + 1
    drawn, grid = plt.subplots(
        2, 3, figsize=(16, 10.5), sharex="row", sharey=True, layout="constrained"
    )
    for (kind, title), (above, below) in zip(_TITLES.items(), grid.T, strict=True):
        shown = {o.name: o for o in outcomes if o.entry.rounds == kind}
        exact = {name: o.summary.exact_after for name, o in shown.items()}
        errors = {name: o.trajectory.errors[:length] for name, o in shown.items()}
        rounds = {name: (np.arange(length), error) for name, error in errors.items()}
        sent = {
            name: (o.trajectory.messages[:length] / size, errors[name])
            for name, o in shown.items()
        }
        plot.consensus_curves(rounds, exact, xlabel="rounds of gossip", axes=above)
        plot.consensus_curves(
            sent, exact, xlabel="messages per slot", logarithmic=True, axes=below
        )
        above.set_title(title)
        _legend(below, errors)
    grid[1, 0].set_xlim(left=0.5)
    for axes in grid[:, 1:].flat:
        axes.set_ylabel("")
    drawn.suptitle(
        f"Gossip on {size} slots: how far they are from the exact average.   "
        "Dot: all have it after this round.",
        fontsize=14,
    )
    return drawn


def _legend(axes: Axes, errors: dict[str, np.ndarray]) -> None:
    """Below the axes, from the slowest to the fastest."""
    handles, labels = axes.get_legend_handles_labels()
    handle = dict(zip(labels, handles, strict=True))
    slowest = sorted(
        errors,
        key=lambda name: (errors[name] > 1e-6).sum() + min(1.0, errors[name][-1]),
        reverse=True,
    )
    axes.legend(
        [handle[name] for name in slowest],
        slowest,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        ncols=2,
        frameon=False,
        fontsize=9,
    )


def write(folder: Path, config: "Config", outcomes: "list[Outcome]", text: str) -> None:
    """``table.md``, ``table.parquet``, ``consensus.parquet`` and two figures."""
    folder.mkdir(exist_ok=True)
    (folder / "table.md").write_text(text)
    results.write_table(folder / "table.parquet", [_row(o) for o in outcomes])
    results.write_table(
        folder / "consensus.parquet",
        [
            {"name": o.name, "round": t, "error": error, "messages": messages}
            for o in outcomes
            for t, (error, messages) in enumerate(
                zip(*(part.tolist() for part in o.trajectory), strict=True)
            )
        ],
    )
    figures = {
        "consensus.png": figure(config, outcomes),
        "gallery.png": plot.gallery(
            {o.name: o.entry.topology for o in outcomes},
            {
                o.name: o.entry.positions
                for o in outcomes
                if o.entry.positions is not None
            },
        ),
    }
    for name, drawn in figures.items():
        drawn.savefig(folder / name, dpi=150)
        plt.close(drawn)


def _row(outcome: "Outcome") -> dict[str, Any]:
    exact, errors = outcome.summary.exact_after, outcome.trajectory.errors
    return {
        "name": outcome.name,
        "kind": outcome.entry.rounds,
        **outcome.summary._asdict(),
        "error_one_round_before": None if exact is None else float(errors[exact - 1]),
        "error_when_exact": None if exact is None else float(errors[exact]),
    }
