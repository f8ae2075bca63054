"""What the study of networks that are not ideal found, and its figures."""

import dataclasses
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tele_jax import plot


@dataclasses.dataclass(frozen=True)
class Trained:
    """What one method learnt, with its best step sizes."""

    rounds: np.ndarray
    """int[e]"""
    accuracy: np.ndarray
    """[alphas, seeds, e]: mean test accuracy of the live models."""
    rates: np.ndarray
    """[alphas]"""
    loss: np.ndarray
    """[1, seeds, e]: f(x̄) − f* of the least squares."""
    loss_rates: np.ndarray
    """[1]"""


@dataclasses.dataclass(frozen=True)
class Timings:
    """What one method's rounds took."""

    seconds: np.ndarray
    """[networks, seeds, rounds]: when each ended; for every τ, then the presets."""
    sent: np.ndarray
    """[networks, seeds, rounds]: bytes sent up to it, for models of 4 bytes."""


@dataclasses.dataclass(frozen=True)
class Crashed:
    """What one way to live with crashes came to."""

    name: str
    accuracy: np.ndarray
    """[crash rates, seeds]: at the end."""
    lost: np.ndarray
    """[crash rates, seeds]: tokens lost over the run, in multiples of all tokens."""
    drift: np.ndarray
    """[crash rates, seeds]: how far failures move the mean model in a round."""


def at_evaluations(values: np.ndarray, rounds: np.ndarray) -> np.ndarray:
    """Of cumulative values [..., rounds] those at the evaluations, 0 at the start."""
    padded = np.concatenate([np.zeros_like(values[..., :1]), values], axis=-1)
    return padded[..., rounds]


def seconds(
    config: Any,
    trained: dict[str, Trained],
    timings: dict[str, Timings],
    goals: np.ndarray,
) -> Figure:
    """Accuracy against simulated seconds: a row for each α, a column for each τ."""
    shape = (len(config.alphas), len(config.slowdowns))
    figure, panels = plt.subplots(
        *shape,
        figsize=(1.2 + 2.6 * shape[1], 0.9 + 2.1 * shape[0]),
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for (a, i), axes in np.ndenumerate(panels):
        lines = {}
        for name, one in trained.items():
            at = at_evaluations(timings[name].seconds[i].mean(axis=0), one.rounds)
            lines[name] = (at, 100 * one.accuracy[a])
        plot.curves(lines, xlabel="", ylabel="", logarithmic=True, axes=axes)
        axes.axhline(100 * goals[a], color="black", linewidth=0.6, linestyle=":")
        if a == 0:
            axes.set_title(f"τ = {config.slowdowns[i]:g}")
        if i == 0:
            axes.set_ylabel(f"α = {config.alphas[a]:g}\ntest accuracy, %")
        if a == shape[0] - 1:
            axes.set_xlabel("simulated seconds")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    return figure


def losses(
    config: Any, trained: dict[str, Trained], timings: dict[str, Timings]
) -> Figure:
    """f(x̄) − f* of the least squares against simulated seconds, for every τ."""
    columns = len(config.slowdowns)
    figure, panels = plt.subplots(
        1,
        columns,
        figsize=(1.2 + 2.6 * columns, 3.2),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for i, axes in enumerate(panels[0]):
        lines = {}
        for name, one in trained.items():
            at = at_evaluations(timings[name].seconds[i].mean(axis=0), one.rounds)
            lines[name] = (at, one.loss[0])
        plot.curves(
            lines, xlabel="simulated seconds", ylabel="", logarithmic=True, axes=axes
        )
        axes.set(yscale="log", title=f"τ = {config.slowdowns[i]:g}")
    panels[0, 0].set_ylabel("f(x̄) − f*, least squares")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    return figure


def crossover(config: Any, times: dict[str, np.ndarray]) -> Figure:
    """Who is first at the target, over τ and α, with and without all-reduce."""
    figure, panels = plt.subplots(1, 2, figsize=(10.4, 4.2), layout="constrained")
    names = list(times)
    without = [name for name in names if not name.startswith("All-reduce")]
    won = set[str]()
    for axes, among, title in (
        (panels[0], names, "all methods"),
        (panels[1], without, "without all-reduce"),
    ):
        won |= _map(config, axes, names, {name: times[name] for name in among})
        axes.set_title(f"First at the target and its lead, {title}")
    shown = [name for name in names if name in won]
    colours = plot.colours(names)
    handles = [_patch((0, 0), colours[name]) for name in shown]
    figure.legend(handles, shown, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _map(
    config: Any, axes: Axes, names: list[str], times: dict[str, np.ndarray]
) -> set[str]:
    """Draw one map; returns who is on it."""
    stacked = np.stack(list(times.values()))
    ordered = np.sort(stacked, axis=0)
    colours = plot.colours(names)
    won = set()
    for (a, i), first in np.ndenumerate(stacked.argmin(axis=0)):
        words = "nobody"
        if np.isfinite(ordered[0, a, i]):
            winner = list(times)[first]
            won.add(winner)
            axes.add_patch(_patch((i, a), colours[winner]))
            lead = ordered[1, a, i] / ordered[0, a, i]
            words = f"{lead:.2f}×" if np.isfinite(lead) else "alone"
        axes.text(i + 0.5, a + 0.5, words, ha="center", va="center")
    axes.set(
        xlim=(0, len(config.slowdowns)),
        ylim=(0, len(config.alphas)),
        xticks=np.arange(len(config.slowdowns)) + 0.5,
        yticks=np.arange(len(config.alphas)) + 0.5,
        xticklabels=[f"{slowdown:g}" for slowdown in config.slowdowns],
        yticklabels=[f"{alpha:g}" for alpha in config.alphas],
        xlabel="τ: slowness of the links that are not on the ring",
        ylabel="α: homogeneity of the data",
    )
    return won


def _patch(corner: tuple[float, float], colour: str) -> Rectangle:
    return Rectangle(corner, 1, 1, facecolor=colour, alpha=0.75)


def crashes(config: Any, crashed: list[Crashed]) -> Figure:
    figure, axes = plt.subplots(figsize=(6.0, 3.8), layout="constrained")
    rates = 100 * np.asarray(config.crash_rates)
    plot.curves(
        {one.name: (rates, 100 * one.accuracy.T) for one in crashed},
        xlabel="nodes that are down, %",
        ylabel=f"final test accuracy, %, α = {config.alphas[0]:g}",
        axes=axes,
    )
    axes.legend(frameon=False)
    return figure
