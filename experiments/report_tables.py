"""The tables of the neural study, in Markdown."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from experiments.report import CellResult


def text(cells: Sequence["CellResult"]) -> str:
    """One table per split, and what has to be said of them."""
    parts = [_recipe(cells[0].settings), ""]
    for alpha in dict.fromkeys(cell.settings["alpha"] for cell in cells):
        of_split = [cell for cell in cells if cell.settings["alpha"] == alpha]
        parts += [f"## α = {alpha:g}", "", _table(of_split), ""]
    parts += [_explained(cells), ""]
    notes = dict.fromkeys(note for cell in cells for note in cell.settings["notes"])
    return "\n".join([*parts, *(f"Note: {note}\n" for note in notes)])


def _recipe(one: dict[str, Any]) -> str:
    """What all cells have in common."""
    crops = "crops and reflections" if one["dataset"] == "cifar10" else "crops"
    steps, decay = one["local_steps"], one["weight_decay"]
    told = [
        *(one["dataset"], one["model"], f"n = {one['num_nodes']}"),
        *(_counted(one["epochs"], "epoch"), f"batch {one['batch_size']}"),
        "drawn with replacement" if one["sampling"] == "replacement" else "",
        crops if one["augment"] else "no augmentation",
        f"{_counted(steps, 'step')} between gossips" if steps > 1 else "",
        f"{'Nesterov ' if one['nesterov'] else ''}momentum {one['momentum']:g}",
        f"weight decay {decay:g}" if decay else "",
        f"{one['schedule']} schedule"
        + (f" after {one['warm_up']:g} warm-up" if one["schedule"] == "cosine" else ""),
        f"{one['validation']:.3g} of the images for validation",
        _counted(one["num_seeds"], "seed"),
        f"computed in {one.get('compute_dtype', 'float32')}",
    ]
    return ", ".join(filter(None, told)) + "."


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _explained(cells: Sequence["CellResult"]) -> str:
    """What the columns are, and what of the rows needs a word."""
    told = [
        "Accuracy on all test images, in %, at the end: of the mean model, its mean ± "
        "s.d. over seeds; and of the models of the slots, the mean over slots and "
        "seeds ± the s.d. over slots. *Worst drop*: the largest fall of the mean "
        "model's accuracy from one epoch to the next in the second half of training, "
        "the mean over seeds. Epochs are counted in gradients, where equal rounds are "
        "not named."
    ]
    every = [cell.settings for cell in cells]
    if any(one["reading"] == "rounds" and len(one["rates"]) > 1 for one in every):
        told.append(
            "Equal rounds take the step size that was chosen for equal gradients."
        )
    if any(_all_active(one) for one in every):
        told.append("k = n: the graph is relabelled at random in every round.")
    if all(len(one["rates"]) == 1 for one in every):
        told.append("The step size was given, not chosen.")
    if any(map(_on_the_edge, every)):
        told.append("* on the edge of the grid of step sizes.")
    return " ".join(told)


def _all_active(settings: dict[str, Any]) -> bool:
    return (
        settings["method"] == "TELEPORTATION"
        and settings["num_active"] == settings["num_nodes"]
    )


def _table(cells: Sequence["CellResult"]) -> str:
    titles = (
        *("method", "step size", "mean model", "slots", "worst drop", "rounds"),
        *("gradients", "models sent"),
    )
    lines = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    for cell in cells:
        last = cell.last
        accuracy = 100 * last["accuracy"]
        slots = 100 * last["final_slot_accuracy_mean"]
        spread = 100 * last["final_slot_accuracy_sd"]
        values = (
            cell.label,
            f"{cell.settings['rate']:g}{'*' if _on_the_edge(cell.settings) else ''}",
            f"{accuracy.mean():.1f}{_sd(accuracy)}{_diverged(last)}",
            f"{slots.mean():.1f} ± {spread.mean():.1f}",
            _worst_drop(cell),
            f"{last['round'].iloc[0]:,}",
            f"{last['gradients'].iloc[0]:,}",
            f"{last['messages'].mean():,.0f}",
        )
        lines.append(f"| {' | '.join(values)} |")
    return "\n".join(lines)


def _on_the_edge(settings: dict[str, Any]) -> bool:
    rates = settings["rates"]
    return len(rates) > 1 and settings["rate"] in (min(rates), max(rates))


def _sd(values: "pd.Series[float]") -> str:
    return f" ± {values.std():.1f}" if len(values) > 1 else ""


def _diverged(last: "pd.DataFrame") -> str:
    number = int((~np.isfinite(last["test_loss"])).sum())
    return f" ({number} of {len(last)} diverged)" if number else ""


def _worst_drop(cell: "CellResult") -> str:
    """The largest fall between epochs of the second half, in %, mean over seeds."""
    drops = []
    for _, rows in cell.rows.groupby("seed"):
        curve = 100 * rows.sort_values("round")["accuracy"].to_numpy()
        late = curve[len(curve) // 2 :]
        if len(late) > 1:
            drops.append(max(0.0, float(np.max(-np.diff(late)))))
    return f"{np.mean(drops):.1f}" if drops else "–"
