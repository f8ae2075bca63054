"""Topologies drawn: who hears whom, round by round, or many side by side."""

import math
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from tele_jax.analysis.cost import degrees
from tele_jax.plot import positions as places
from tele_jax.plot.drawing import LIMIT, draw_edges, draw_slots, radius_of
from tele_jax.topology import Topology, to_matrices

_MAX_SLOTS = 200
_MAX_NUMBERED = 40
"""Most slots whose numbers can be read."""
_MAX_PANELS, _RANDOM_PANELS = 12, 4
_EDGE = "#4f74a3"
_BY_ROUND = LinearSegmentedColormap.from_list(
    "rounds", plt.get_cmap("plasma")(np.linspace(0.0, 0.85, 64))
)
"""From dark to light for any eyes; the lightest yellow is left out."""


def topology(
    topology: Topology,
    *,
    positions: np.ndarray | None = None,
    num_rounds: int | None = None,
    title: str = "",
) -> Figure:
    """Who hears whom: one panel per round, slots as circles.

    A line joins two slots that hear each other; an arrow leads from a slot to one that
    hears it without being heard. Thick, dark lines have large weights.

    Args:
      topology: at most 200 slots; up to 40 of them are numbered.
      positions: float[k, 2], where the slots are. By default a circle, slot 0 at the
        top and the others clockwise; a sparse graph that never changes is laid out by
        its edges. See also ``grid_positions``.
      num_rounds: how many to draw; by default a period of at most 12, and 4 rounds of
        a random topology.
      title: above the figure.

    Returns:
      The figure, to show or to save.

    Raises:
      ValueError: there are too many slots, ``num_rounds`` is below 1, or the positions
        have another shape.

    >>> import tele_jax as tele
    >>> figure = topology(tele.graphs.one_peer_hypercube(8), title="pairs")
    >>> [axes.get_title() for axes in figure.axes]
    ['round 0', 'round 1', 'round 2']
    >>> plt.close(figure)
    """
    _check_size("topology", topology.num_slots)
    shown = num_rounds
    if shown is None:
        shown = min(_MAX_PANELS, topology.period or _RANDOM_PANELS)
    if shown < 1:
        raise ValueError(f"topology: got num_rounds={shown}, expected at least 1.")
    rounds = _rounds(topology, shown)
    where = _positions("topology", topology, positions, rounds)
    numbered = topology.num_slots <= _MAX_NUMBERED
    radius = radius_of(where, numbered)
    inches = 4.5 if shown == 1 else 3.0
    font_size = min(10.0, 1.1 * radius * inches * 72 / (2 * LIMIT))
    figure, panels = _panels(shown, math.ceil(shown / math.ceil(shown / 4)), inches)
    for t, axes in enumerate(panels):
        draw_slots(axes, where, radius, font_size if numbered else None)
        draw_edges(axes, rounds[t], where, radius, _EDGE, _width(topology))
        if shown > 1:
            axes.set_title(f"round {t}", fontsize=10)
    if num_rounds is None and topology.period and topology.period > shown:
        title += f"{title and ' – '}the first {shown} rounds of {topology.period}"
    figure.suptitle(title)
    return figure


def gallery(
    topologies: Mapping[str, Topology],
    positions: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """Many topologies in one figure, a small panel each.

    One that changes shows all edges of its period, coloured by the first round that
    has them; a random one shows its round 0.

    Args:
      topologies: name to topology, at most 200 slots each.
      positions: name to float[k, 2] for those that should not be laid out as
        ``topology`` does by default.

    Returns:
      The figure, to show or to save.

    Raises:
      ValueError: there is nothing to draw, there are too many slots, or positions have
        another shape or no topology.

    >>> import tele_jax as tele
    >>> both = {"ring": tele.graphs.ring(9), "Base-3": tele.graphs.base_graph(9, 2)}
    >>> figure = gallery(both)
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['ring\\nperiod 1, ≤ 2 partners', 'Base-3\\nperiod 2, ≤ 2 partners']
    >>> plt.close(figure)
    """
    positions = positions or {}
    if not topologies:
        raise ValueError("gallery: got no topology, expected at least one.")
    if unknown := [name for name in positions if name not in topologies]:
        raise ValueError(
            f"gallery: got positions of {unknown[0]!r}, expected names of the "
            f"topologies: {', '.join(topologies)}."
        )
    for each in topologies.values():
        _check_size("gallery", each.num_slots)
    count = len(topologies)
    columns = math.ceil(count / max(1, round(math.sqrt(count / 1.6))))
    figure, panels = _panels(count, columns, 1.75)
    for axes, (name, each) in zip(panels, topologies.items(), strict=True):
        _draw_period(axes, each, positions.get(name))
        axes.set_title(f"{name}\n{_in_words(each)}", fontsize=7.5)
    if any((each.period or 1) > 1 for each in topologies.values()):
        bar = figure.colorbar(
            ScalarMappable(cmap=_BY_ROUND),
            ax=panels,
            location="bottom",
            ticks=[0, 1],
            shrink=0.3,
            aspect=40,
        )
        bar.ax.set_xticklabels(["first", "last"])
        bar.set_label("round of the period in which two slots meet first", fontsize=8)
        bar.ax.tick_params(labelsize=8, length=0)
        bar.outline.set_visible(False)
    return figure


def _draw_period(axes: Axes, topology: Topology, given: np.ndarray | None) -> None:
    rounds = _rounds(topology, topology.period or 1)
    where = _positions("gallery", topology, given, rounds)
    radius = radius_of(where, numbered=False)
    draw_slots(axes, where, radius)
    first = np.where((rounds != 0).any(axis=0), (rounds != 0).argmax(axis=0), -1)
    # The first rounds come last: their short edges lie on top.
    for t in reversed(range(len(rounds))):
        colour = _BY_ROUND(t / (len(rounds) - 1)) if len(rounds) > 1 else _EDGE
        weights = np.where(first == t, rounds[t], 0.0)
        draw_edges(axes, weights, where, radius, colour, 0.8 * _width(topology))


def _width(topology: Topology) -> float:
    """Thin lines where there are many."""
    return min(1.0, math.sqrt(25 / topology.num_slots))


def _in_words(topology: Topology) -> str:
    if topology.period is None:
        return "one random round"
    most = max(degrees(topology)[:2])
    return f"period {topology.period}, ≤ {most} partner{'' if most == 1 else 's'}"


def _check_size(name: str, size: int) -> None:
    if size > _MAX_SLOTS:
        raise ValueError(
            f"{name}: got {size:,} slots, expected at most {_MAX_SLOTS}, for more "
            "cannot be told apart; draw a smaller graph of the same kind."
        )


def _rounds(topology: Topology, num_rounds: int) -> np.ndarray:
    """Weights between different slots, float64[num_rounds, k, k]."""
    weights = to_matrices(topology, num_rounds)
    weights[:, np.eye(topology.num_slots, dtype=bool)] = 0.0
    return weights


def _positions(
    name: str, topology: Topology, given: np.ndarray | None, rounds: np.ndarray
) -> np.ndarray:
    if given is None:
        linked = (rounds != 0).any(axis=0)
        given = places.default_positions(linked, changes=topology.period != 1)
    given = np.asarray(given, np.float64)
    if given.shape != (topology.num_slots, 2):
        raise ValueError(
            f"{name}: got positions of shape {given.shape}, expected "
            f"[{topology.num_slots}, 2], a place for every slot."
        )
    return places.fitted(given)


def _panels(count: int, columns: int, inches: float) -> tuple[Figure, list[Axes]]:
    rows = math.ceil(count / columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(inches * columns, (inches + 0.3) * rows),
        layout="constrained",
        squeeze=False,
    )
    for axes in grid.flat[count:]:
        axes.remove()
    for axes in grid.flat[:count]:
        axes.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), aspect="equal")
        axes.axis("off")
    return figure, list(grid.flat[:count])
