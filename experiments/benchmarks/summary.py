"""All ratios of a benchmark in one table, and one figure with their limits."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.benchmarks.measure import Record
from tele_jax.plot import style

_MEASURED = ("ratio", "low", "high")
_OF_RATIO = (*_MEASURED, "quartiles", "limit", "target", "met")


def rows(tables: Mapping[str, Sequence[Record]]) -> list[Record]:
    """A row for every record with a ratio or a target: what it is of, its limit."""
    return [
        {
            "section": title,
            "of": ", ".join(_words(record)),
            **{name: record.get(name) for name in _OF_RATIO},
        }
        for title, records in tables.items()
        for record in records
        if "ratio" in record or "met" in record
    ]


def _words(record: Record) -> list[str]:
    """What is said in words, and counted: not what was measured, which has a unit."""
    return [
        str(value) if isinstance(value, str) else f"{name} {value:,}"
        for name, value in record.items()
        if name not in _OF_RATIO and ", " not in name and isinstance(value, (str, int))
    ]


def figure(ratios: Sequence[Record]) -> Figure | None:
    """Every ratio over its limit, with quartiles; None if none has a limit.

    Limits of 0 have no place on it.
    """
    judged = [row for row in ratios if row["limit"] is not None]
    if not judged:
        return None
    sections = dict.fromkeys(row["section"] for row in judged)
    lines: list[Record | str] = []
    for section in sections:  # a line for its name, one for each of its ratios
        lines += [section, *(row for row in judged if row["section"] == section)]
    with style():
        drawn, axes = plt.subplots(figsize=(9.0, 1.2 + 0.2 * len(lines)))
        for place, row in enumerate(lines):
            if not isinstance(row, str):
                _draw(axes, place, row)
        labels = axes.set_yticks(range(len(lines)), map(_label, lines))
        for line, tick in zip(lines, labels, strict=True):
            tick.label1.set_fontsize("x-small")
            tick.label1.set_fontweight("bold" if isinstance(line, str) else "normal")
        axes.tick_params("y", length=0)
        axes.axvline(1.0, color="#707070", linestyle="--")
        axes.set_xlim(left=0.0)
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xlabel(
            "how much of its limit a ratio takes;\nbars: quartiles; "
            "orange, right of the line: missed"
        )
        drawn.tight_layout()
    return drawn


def _draw(axes: Axes, place: int, row: Record) -> None:
    middle, one, other = (_of_limit(row, name) for name in _MEASURED)
    colour = "#009e73" if row["met"] == "yes" else "#d55e00"
    axes.plot([one, other], [place, place], color=colour, linewidth=3, alpha=0.4)
    axes.plot(middle, place, "o", color=colour)


def _label(line: Record | str) -> str:
    return line if isinstance(line, str) else f"{line['of']}: {line['target']}"


def _of_limit(row: Record, name: str) -> float:
    value = row["ratio"] if row[name] is None else row[name]  # counted, not measured
    at_least = row["target"].startswith("at least")
    return row["limit"] / value if at_least else value / row["limit"]
