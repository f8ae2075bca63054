"""The figures of the neural study."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from tele_jax.plot import colours, style

if TYPE_CHECKING:
    import pandas as pd

    from experiments.report import CellResult

_COUNTS = {
    "epochs": ("epoch", "epochs (equal gradients)"),
    "rounds": ("round", "rounds"),
    "gradients": ("gradients", "gradients of all nodes"),
    "messages": ("messages", "models sent"),
}
"""File to column and name of the axis."""


def all_of(cells: Sequence["CellResult"]) -> dict[str, Figure]:
    """Name to figure: the mean model against what was spent, and the end."""
    figures = {}
    main = [cell for cell in cells if not cell.settings["ablation"]]
    for name, (column, title) in _COUNTS.items():
        shown = main
        if name == "epochs":
            shown = [cell for cell in main if cell.settings["reading"] == "gradients"]
        figures[f"accuracy_{name}.png"] = _curves(shown, column, title)
    figures["final.png"] = _final(cells)
    return figures


def _method(cell: "CellResult") -> str:
    """The method, however its epochs are read: one colour."""
    return cell.label.removesuffix(", equal rounds")


def _colours(cells: Sequence["CellResult"]) -> dict[str, str]:
    return colours(dict.fromkeys(map(_method, cells)))


def _splits(cells: Sequence["CellResult"]) -> list[float]:
    return list(dict.fromkeys(cell.settings["alpha"] for cell in cells))


def _curves(cells: Sequence["CellResult"], column: str, title: str) -> Figure:
    """One panel per split: mean over seeds, and the range from worst to best seed."""
    splits = _splits(cells)
    by_method = _colours(cells)
    with style():
        figure, panels = plt.subplots(
            1,
            len(splits),
            figsize=(5.2 * len(splits), 5.2),
            squeeze=False,
            sharey=True,
            layout="constrained",
        )
        for axes, alpha in zip(panels[0], splits, strict=True):
            for cell in cells:
                if cell.settings["alpha"] == alpha:
                    _curve(axes, cell, column, by_method[_method(cell)])
            axes.set(title=f"α = {alpha:g}", xlabel=title)
            if column == "epoch":
                axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            if column == "messages":  # of all-reduce, many times those of a ring
                _logarithmic(axes)
        _title(figure, cells)
        panels[0, 0].set_ylabel("test accuracy of the mean model, %")
        _legend_below(figure, panels[0], min(2, len(splits)))
    return figure


def _curve(axes: Axes, cell: "CellResult", column: str, colour: Any) -> None:
    trained = cell.rows[cell.rows["epoch"] > 0]
    by_epoch = trained.groupby("epoch")
    spent = by_epoch[column].mean()
    accuracy = 100 * by_epoch["accuracy"].agg(["mean", "min", "max"])
    dashed = cell.settings["reading"] == "rounds"
    axes.plot(
        spent,
        accuracy["mean"],
        color=colour,
        linestyle="--" if dashed else "-",
        marker="o" if len(spent) < 5 else None,
        label=cell.label,
    )
    axes.fill_between(
        spent, accuracy["min"], accuracy["max"], color=colour, alpha=0.2, linewidth=0
    )


def _logarithmic(axes: Axes) -> None:
    """An axis with names for a few numbers, over one power of ten or several."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    few = (1, 2, 5) if high < 100 * low else (1, 3)
    axes.xaxis.set_major_locator(LogLocator(subs=few))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _title(figure: Figure, cells: Sequence["CellResult"]) -> None:
    one = cells[0].settings
    figure.suptitle(f"{one['model']} on {one['dataset']}, n = {one['num_nodes']}")


def _final(cells: Sequence["CellResult"]) -> Figure:
    """All methods at the end: the mean model's seeds, and the spread over slots."""
    splits = _splits(cells)
    labels = list(dict.fromkeys(cell.label for cell in cells))
    by_method = _colours(cells)
    with style():
        figure, panels = plt.subplots(
            1,
            len(splits),
            figsize=(3.6 + 3.6 * len(splits), 1.7 + 0.34 * len(labels)),
            squeeze=False,
            sharex=True,
            sharey=True,
            layout="constrained",
        )
        for axes, alpha in zip(panels[0], splits, strict=True):
            for cell in cells:
                if cell.settings["alpha"] != alpha:
                    continue
                place = labels.index(cell.label)
                _row(axes, cell.last, place, by_method[_method(cell)])
            axes.set(title=f"α = {alpha:g}", xlabel="test accuracy at the end, %")
            axes.set_yticks(range(len(labels)), labels)
        panels[0, 0].set_ylim(len(labels) - 0.4, -0.6)
        _title(figure, cells)
        figure.supxlabel(
            "dots: mean model, one per seed; grey: slots, mean ± s.d. over slots",
            fontsize="small",
        )
    return figure


def _row(axes: Axes, last: "pd.DataFrame", place: int, colour: Any) -> None:
    """A method at the end: its seeds, and what its slots have in common."""
    accuracy = 100 * last["accuracy"]
    axes.plot(accuracy, [place] * len(last), "o", color=colour, alpha=0.6)
    axes.errorbar(
        100 * last["final_slot_accuracy_mean"].mean(),
        place + 0.25,
        xerr=100 * last["final_slot_accuracy_sd"].mean(),
        color="#707070",
        marker="|",
    )


def _legend_below(figure: Figure, panels: Sequence[Axes], columns: int) -> None:
    """Of all panels: Algorithm 2 may choose another k on every split."""
    shown = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        shown.values(),
        shown.keys(),
        loc="outside lower center",
        ncols=columns,
        fontsize="small",
        title="mean of the seeds; band: from the worst to the best",
        title_fontsize="small",
    )
