"""Tables and figures of the neural study, from its stored cells alone.

    python -m experiments.report results/neural/2026-...

Reads ``cells/*.parquet`` of the folder, and writes ``table.md`` and the figures there.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import pandas as pd
import pyarrow.parquet as pq
import tyro

from experiments import report_figures, report_tables
from experiments.neural_cells import GRAPHS


@dataclasses.dataclass(frozen=True)
class CellResult:
    """What is stored of a cell."""

    settings: dict[str, Any]
    """The cell, its recipe and its step size."""
    rows: pd.DataFrame
    """A row per seed and evaluation."""

    @property
    def label(self) -> str:
        """The method as figures call it."""
        return self.settings["label"]

    @property
    def last(self) -> pd.DataFrame:
        """The last evaluation of every seed."""
        return self.rows[self.rows["round"] == self.rows["round"].max()]


def read(folder: Path) -> list[CellResult]:
    """All cells of a study, by split, method and graph, ablations at the end of each.

    Raises:
      ValueError: there are none, or a file is none of them.
    """
    paths = sorted((folder / "cells").glob("*.parquet"))
    if not paths:
        raise ValueError(
            f"{folder} has no cells/*.parquet, expected the folder of a neural study."
        )
    cells = sorted(map(_read, paths), key=_place)
    names = [(cell.label, cell.settings["alpha"]) for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"{folder} has {names.count(name)} cells {name[0]!r} with α={name[1]:g}"
                ", of different settings; remove all but one from its folder cells."
            )
    return cells


def _place(cell: CellResult) -> tuple[Any, ...]:
    """Splits one after the other, in each the methods, their graphs, and ablations."""
    one = cell.settings
    return (
        *(one["alpha"], one["ablation"], one["method"]),
        *(one["memory"] == "node", list(GRAPHS).index(one["graph"])),
        *(one["num_active"], one["reading"] == "rounds"),
    )


def _read(path: Path) -> CellResult:
    try:
        table = pq.read_table(path)
        settings = json.loads((table.schema.metadata or {})[b"cell"])
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"{path} is not a cell of a study ({type(error).__name__}); remove it, and "
            "run the study again with --resume."
        ) from error
    return CellResult(settings, table.to_pandas())


def write(folder: Path) -> str:
    """``table.md`` and the figures; returns the table."""
    cells = read(folder)
    text = report_tables.text(cells)
    (folder / "table.md").write_text(text)
    for name, figure in report_figures.all_of(cells).items():
        figure.savefig(folder / name, dpi=150)
        plt.close(figure)
    return text


def main() -> None:
    """Entry point: the folder of a study."""
    try:
        print(
            write(
                tyro.cli(
                    _Arguments, prog="python -m experiments.report", description=__doc__
                ).folder
            )
        )
    except (ValueError, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        sys.exit(2)


@dataclasses.dataclass(frozen=True)
class _Arguments:
    folder: Annotated[Path, tyro.conf.Positional]
    """Of the study."""


if __name__ == "__main__":
    main()
