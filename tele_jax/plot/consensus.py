"""How fast the slots agree: consensus errors of topologies against each other."""

from collections.abc import Mapping
from itertools import cycle, product
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from tele_jax.analysis.speed import exact_after
from tele_jax.analysis.trajectory import consensus_errors
from tele_jax.plot.looks import COLOURS, new_axes, tidy
from tele_jax.topology import Topology

_FLOOR = 1e-6
"""Errors below are rounding of float32 weights, which adds up over the rounds."""
_STYLES = ("-", "--", ":", "-.")


def consensus(
    topologies: Mapping[str, Topology],
    *,
    num_rounds: int,
    against: Literal["rounds", "messages"] = "rounds",
    axes: Axes | None = None,
) -> Axes:
    """Draw the consensus error of every topology, from the same random numbers.

    See ``analysis.consensus_errors`` and ``consensus_curves``.

    Args:
      topologies: name to topology.
      num_rounds: rounds of gossip of each.
      against: ``"rounds"``, or ``"messages"`` sent per slot.
      axes: where to draw; new ones by default.

    Returns:
      The axes.

    Raises:
      ValueError: ``against`` is something else, or ``num_rounds`` is below 1.

    >>> from tele_jax import graphs
    >>> import matplotlib.pyplot as plt
    >>> some = {"ring": graphs.ring(8), "Base-2": graphs.base_graph(8, 1)}
    >>> axes = consensus(some, num_rounds=4)
    >>> axes.get_legend_handles_labels()[1]
    ['ring', 'Base-2']
    >>> plt.close(axes.figure)
    """
    xlabels = {"rounds": "rounds of gossip", "messages": "messages per slot"}
    if against not in xlabels:
        raise ValueError(
            f'consensus: got against={against!r}, expected "rounds" or "messages".'
        )
    lines, exact = {}, {}
    for name, topology in topologies.items():
        errors, messages = consensus_errors(topology, num_rounds)
        sent = messages / topology.num_slots
        lines[name] = sent if against == "messages" else np.arange(len(errors)), errors
        exact[name] = exact_after(topology)
    return consensus_curves(lines, exact, xlabel=xlabels[against], axes=axes)


def consensus_curves(
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]],
    exact: Mapping[str, int | None],
    *,
    xlabel: str,
    logarithmic: bool = False,
    axes: Axes | None = None,
) -> Axes:
    """Draw consensus errors on a logarithmic axis, one line per topology.

    Errors below the grey line, 1e-6, are rounding of float32 weights: lines end there.
    A dot marks the round after which a topology has averaged exactly. Each of 32 lines
    has its own colour and style; the more lines of the same numbers lie on it, the
    wider it is.

    Args:
      lines: name to (x [num_rounds + 1], errors [num_rounds + 1]).
      exact: name to the rounds until an exact average, None if there is none.
      xlabel: what x counts, with its unit.
      logarithmic: draw x on a logarithmic axis, and leave out what stands at x = 0.
      axes: where to draw; new ones by default.

    Returns:
      The axes.

    >>> import matplotlib.pyplot as plt
    >>> pair = {"pair": (np.arange(3), np.array([1.0, 1e-16, 1e-16]))}
    >>> axes = consensus_curves(pair, {"pair": 1}, xlabel="rounds of gossip")
    >>> axes.lines[0].get_ydata().tolist(), axes.lines[0].get_markevery()
    ([1.0, 1e-06], [1])
    >>> plt.close(axes.figure)
    """
    axes = new_axes(axes)
    parts = {name: _shown(*line, logarithmic) for name, line in lines.items()}
    points = [
        np.stack([x, np.maximum(errors, _FLOOR)])[:, parts[name]]
        for name, (x, errors) in lines.items()
    ]
    looks = cycle(product(_STYLES, COLOURS))
    for place, (name, part) in enumerate(parts.items()):
        style, colour = next(looks)
        above = sum(_same(points[place], other) for other in points[place + 1 :])
        dot = exact[name]
        marked = [] if dot is None or dot >= part.stop else [dot - part.start]
        axes.plot(
            *points[place],
            color=colour,
            linestyle=style,
            linewidth=1.6 + 1.6 * above,
            marker="o" if marked else "",
            markersize=6 + 2.4 * above,
            markevery=marked,
            label=name,
        )
    _draw_floor(axes)
    axes.set(yscale="log", ylim=(_FLOOR / 3, 2), xlabel=xlabel)
    if logarithmic:
        axes.set_xscale("log")
    axes.set_ylabel("consensus error, relative to the start")
    tidy(axes)
    return axes


def _draw_floor(axes: Axes) -> None:
    axes.axhline(_FLOOR, color="#cccccc", linewidth=4, zorder=0)
    axes.text(
        0.99,
        _FLOOR / 1.6,
        "rounding of float32 weights",
        transform=axes.get_yaxis_transform(),
        fontsize=8,
        color="#777777",
        ha="right",
        va="top",
    )


def _shown(x: np.ndarray, errors: np.ndarray, logarithmic: bool) -> slice:
    """From the first x > 0 on a logarithmic axis to where the error is on the floor."""
    low = np.flatnonzero(errors <= _FLOOR)
    return slice(
        int((x <= 0).sum()) if logarithmic else 0,
        int(low[0]) + 1 if len(low) else len(x),
    )


def _same(line: np.ndarray, other: np.ndarray) -> bool:
    return line.shape == other.shape and np.allclose(line, other, rtol=1e-3, atol=0)
