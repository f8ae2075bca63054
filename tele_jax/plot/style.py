"""How figures look: one colour for a method everywhere, on paper and on slides."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb

COLOURS = ("#d1495b", "#00798c", "#595959", "#edae49", "#66a182", "#8d6a9f")
"""Told apart by most colour-blind readers, and in this order in every figure."""

_METHODS = {
    "DSGD": ("#d1495b", "#edae49", "#7d1d2b", "#f0b7a4"),
    "TELEPORTATION": ("#00798c", "#63bfd0", "#1d3557", "#8d6a9f"),
    "All-reduce": ("#595959", "#a5a5a5"),
}
"""The colours of a method's variants, in the order of the figure."""
_OTHERS = ("#66a182", "#8d6a9f", "#b08968", "#c8b900")

_SIZES = {
    "notebook": {},
    "paper": {
        "figure.figsize": (3.25, 2.3),
        "figure.dpi": 200,
        "font.size": 8,
        "lines.linewidth": 1.1,
    },
    "slide": {
        "figure.figsize": (9, 5),
        "font.size": 18,
        "lines.linewidth": 2.6,
    },
}
_GROUND, _INK = "#111111", "#dddddd"
_DARK = {
    "figure.facecolor": _GROUND,
    "axes.facecolor": _GROUND,
    "savefig.facecolor": _GROUND,
    "legend.facecolor": _GROUND,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": "#666666",
}


@contextmanager
def style(
    size: Literal["notebook", "paper", "slide"] = "notebook", *, dark: bool = False
) -> Iterator[None]:
    """Figures drawn inside have sizes and colours for where they will be shown.

    Args:
      size: ``"paper"`` is one column of 3.25 inches with 8 pt, ``"slide"`` has large
        letters and thick lines, ``"notebook"`` is Matplotlib's own.
      dark: light lines on a dark ground.

    Raises:
      ValueError: the size is another.

    >>> with style("paper", dark=True):
    ...     figure, axes = plt.subplots()
    >>> figure.get_size_inches().tolist(), to_hex(figure.get_facecolor())
    ([3.25, 2.3], '#111111')
    >>> plt.close(figure)
    """
    if size not in _SIZES:
        raise ValueError(
            f"style: got size={size!r}, expected one of {', '.join(_SIZES)}."
        )
    with mpl.rc_context({**_SIZES[size], **(_DARK if dark else {})}):
        yield


def colours(methods: Iterable[str]) -> dict[str, str]:
    """A colour for every name, the same in every figure that has the same methods.

    DSGD is red and orange, TELEPORTATION blue, all-reduce grey, whatever stands first;
    what begins with no such word takes green, violet and brown.

    >>> colours(["TELEPORTATION, k = 8", "DSGD", "mine"])
    {'TELEPORTATION, k = 8': '#00798c', 'DSGD': '#d1495b', 'mine': '#66a182'}
    """
    used: dict[str, int] = {}
    found = {}
    for name in methods:
        family = next((m for m in _METHODS if name.lower().startswith(m.lower())), "")
        shades = _METHODS.get(family, _OTHERS)
        place = used.get(family, 0)
        used[family] = place + 1
        found[name] = fitting(shades[place % len(shades)])
    return found


def fitting(colour: str) -> str:
    """The colour, or a lighter one on a dark ground."""
    if np.mean(to_rgb(mpl.rcParams["axes.facecolor"])) > 0.5:
        return colour
    return to_hex(0.6 * np.array(to_rgb(colour)) + 0.4)


def line_width() -> float:
    """Of a curve, in points: a little more than Matplotlib's."""
    return 1.2 * float(mpl.rcParams["lines.linewidth"])


def new_axes(axes: Axes | None) -> Axes:
    """The axes, or those of a new figure."""
    if axes is not None:
        return axes
    return plt.subplots(layout="constrained")[1]


def tidy(axes: Axes) -> None:
    """A faint grid, and no frame above and to the right."""
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
