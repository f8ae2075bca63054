"""Tables and figures of the study of networks that are not ideal."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from experiments import network_figures as figures
from experiments import results
from experiments.benchmarks.measure import markdown
from experiments.network_figures import Crashed, Timings, Trained
from experiments.network_presets import PRESETS


def first_reached(curves: np.ndarray, target: float) -> np.ndarray:
    """The first evaluation at which each curve [seeds, e] is there; −1: never."""
    there = curves >= target
    return np.where(there.any(axis=-1), there.argmax(axis=-1), -1)


def time_to(
    trained: Trained, timing: np.ndarray, alpha: int, target: float
) -> np.ndarray:
    """A cumulative quantity [seeds, rounds] when the target is met; inf: never."""
    first = first_reached(trained.accuracy[alpha], target)
    at = figures.at_evaluations(timing, trained.rounds)
    found = at[np.arange(len(first)), np.maximum(first, 0)]
    return np.where(first < 0, np.inf, found)


def targets(config: Any, trained: dict[str, Trained]) -> np.ndarray:
    """The accuracy to reach at every α."""
    final = np.stack([one.accuracy[..., -1].mean(axis=1) for one in trained.values()])
    return config.target * final.max(axis=0)


def write(
    path: Path,
    config: Any,
    trained: dict[str, Trained],
    timings: dict[str, Timings],
    crashed: list[Crashed],
) -> None:
    """All tables and figures, and the tables once more on the screen."""
    goals = targets(config, trained)
    times = _medians(config, trained, timings, goals)
    tables = {
        "Final accuracy": _final(config, trained),
        "Seconds to the target": _seconds(config, times, goals),
        "Real networks": _real(config, trained, timings, goals),
        "Crashes": _crashes(config, crashed),
    }
    results.write_json(path / "tables.json", tables)
    text = "\n\n".join(
        f"## {name}\n\n{markdown(rows)}" for name, rows in tables.items()
    )
    title = "# Networks that are not ideal: all tables"
    (path / "tables.md").write_text(f"{title}\n\n{text}\n")
    print(text)
    if config.preset == "quick":
        print(
            "\nThis preset shows that all works. Two seeds, two step sizes and few "
            "rounds do not tell who is first: --preset full does."
        )
    for name, figure in {
        "seconds": figures.seconds(config, trained, timings, goals),
        "crossover": figures.crossover(config, times),
        "least_squares": figures.losses(config, trained, timings),
        "crashes": figures.crashes(config, crashed),
    }.items():
        figure.savefig(path / f"{name}.png", dpi=150)
        plt.close(figure)


def _medians(
    config: Any,
    trained: dict[str, Trained],
    timings: dict[str, Timings],
    goals: np.ndarray,
) -> dict[str, np.ndarray]:
    """Seconds to the target, [alphas, slowdowns], of every method."""
    return {
        name: np.array(
            [
                [
                    np.median(time_to(one, timings[name].seconds[i], a, goal))
                    for i in range(len(config.slowdowns))
                ]
                for a, goal in enumerate(goals)
            ]
        )
        for name, one in trained.items()
    }


def _final(config: Any, trained: dict[str, Trained]) -> list[dict[str, Any]]:
    rows = []
    for name, one in trained.items():
        row: dict[str, Any] = {"method": name}
        for a, alpha in enumerate(config.alphas):
            row[f"α = {alpha:g}, %"] = _spread(100 * one.accuracy[a, :, -1])
            edge = one.rates[a] in (min(config.rates), max(config.rates))
            row[f"η at {alpha:g}"] = f"{one.rates[a]:g}" + " (edge)" * edge
        rows.append(row)
    return rows


def _seconds(
    config: Any, times: dict[str, np.ndarray], goals: np.ndarray
) -> list[dict[str, Any]]:
    rows = []
    for a, alpha in enumerate(config.alphas):
        for name, of in times.items():
            row: dict[str, Any] = {
                "α": f"{alpha:g}",
                "target, %": f"{100 * goals[a]:.1f}",
            }
            row["method"] = name
            for i, slowdown in enumerate(config.slowdowns):
                best = of[a, i] <= min(other[a, i] for other in times.values())
                cell = f"{of[a, i]:.0f}" if np.isfinite(of[a, i]) else "not reached"
                row[f"τ = {slowdown:g}"] = f"**{cell}**" if best else cell
            rows.append(row)
    return rows


def _real(
    config: Any,
    trained: dict[str, Trained],
    timings: dict[str, Timings],
    goals: np.ndarray,
) -> list[dict[str, Any]]:
    """Seconds and gigabytes to the target, at the first and the last α."""
    scale = 1e6 * config.model_megabytes / 4 / 1e9
    rows = []
    for a in sorted({0, len(goals) - 1}):
        for name, one in trained.items():
            row: dict[str, Any] = {"α": f"{config.alphas[a]:g}", "method": name}
            for i, preset in enumerate(PRESETS, start=len(config.slowdowns)):
                seconds = time_to(one, timings[name].seconds[i], a, goals[a])
                row[f"{preset.name}, s"] = _median(seconds)
                sent = scale * time_to(one, timings[name].sent[i], a, goals[a])
            row["GB sent"] = _median(sent)
            rows.append(row)
    return rows


def _crashes(config: Any, crashed: list[Crashed]) -> list[dict[str, Any]]:
    rows = []
    for one in crashed:
        for i, rate in enumerate(config.crash_rates):
            rows.append(
                {
                    "method": one.name,
                    "nodes down": f"{100 * rate:g} %",
                    "accuracy, %": _spread(100 * one.accuracy[i]),
                    "tokens lost": f"{one.lost[i].mean():.2f} × all",
                    "drift per round": f"{one.drift[i].mean():.2g}",
                }
            )
    return rows


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.1f} ± {values.std(ddof=min(1, len(values) - 1)):.1f}"


def _median(values: np.ndarray) -> str:
    middle = np.median(values)
    return f"{middle:.3g}" if np.isfinite(middle) else "not reached"
