"""The parts of a drawn graph: circles, lines, arrow heads."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle
from matplotlib.typing import ColorType

LIMIT = 1.16
"""Slots are in the square from −1 to 1, with room for their circles."""


def radius_of(positions: np.ndarray, numbered: bool) -> float:
    """The radius of a slot: room for its number, or small to show the edges."""
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    nearest = apart[~np.eye(len(positions), dtype=bool)].min(initial=1.0)
    share = 0.32 if numbered else 0.22
    return float(np.clip(share * nearest, 0.018, 0.1 if numbered else 0.07))


def draw_slots(
    axes: Axes, positions: np.ndarray, radius: float, font_size: float | None = None
) -> None:
    """A circle per slot, with its number if a size is given for it."""
    circles = PatchCollection(
        [Circle((x, y), radius) for x, y in positions],
        facecolor=mpl.rcParams["axes.facecolor"],
        edgecolor=mpl.rcParams["text.color"],
        linewidth=min(0.8, 20 * radius),
        zorder=3,
        gid="slots",
    )
    axes.add_collection(circles)
    if font_size is None:
        return
    for slot, (x, y) in enumerate(positions):
        axes.text(
            x,
            y,
            str(slot),
            fontsize=font_size,
            ha="center",
            va="center_baseline",
            zorder=4,
        )


def draw_edges(
    axes: Axes,
    weights: np.ndarray,
    positions: np.ndarray,
    radius: float,
    colour: ColorType,
    width: float = 1.0,
) -> None:
    """A line for two slots that hear each other, else an arrow to the one that hears.

    Args:
      axes: where to draw.
      weights: float[k, k] with 0 on the diagonal; slot i hears j at entry (j, i).
      positions: float[k, 2].
      radius: of a slot.
      colour: of all.
      width: multiplies the width of the lines.
    """
    hears = weights != 0
    mean = (weights + weights.T) / 2
    pairs = np.argwhere(np.triu(hears & hears.T))
    arrows = np.argwhere(hears & ~hears.T)
    for ends, gid in ((pairs, "pairs"), (arrows, "arrows")):
        if not len(ends):
            continue
        weight = (mean if gid == "pairs" else weights)[ends[:, 0], ends[:, 1]]
        colours = _faded(colour, weight)
        lines = LineCollection(
            list(positions[ends]),
            linewidths=width * (0.6 + 2 * weight),
            colors=colours,
            capstyle="round",
            zorder=1,
            gid=gid,
        )
        axes.add_collection(lines)
        if gid == "arrows":
            _draw_heads(axes, positions[ends], radius, colours)


def _faded(colour: ColorType, weight: np.ndarray) -> np.ndarray:
    """Small weights pale, those of a half and more not, [E, 4]."""
    alpha = np.clip(0.3 + 1.5 * weight, 0.0, 1.0)
    return np.column_stack([np.tile(to_rgb(colour), (len(weight), 1)), alpha])


def _draw_heads(
    axes: Axes, lines: np.ndarray, radius: float, colours: np.ndarray
) -> None:
    """Triangles whose tips touch the circles at the ends of the lines [E, 2, 2]."""
    start, end = lines[:, 0], lines[:, 1]
    along = end - start
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    aside = np.stack([-along[:, 1], along[:, 0]], axis=1)
    length = 0.04 + 0.4 * radius
    tip = end - radius * along
    back = tip - length * along
    corners = [tip, back + 0.42 * length * aside, back - 0.42 * length * aside]
    heads = PolyCollection(
        list(np.stack(corners, axis=1)),
        facecolors=np.column_stack([colours[:, :3], np.sqrt(colours[:, 3])]),
        zorder=2,
        gid="heads",
    )
    axes.add_collection(heads)
