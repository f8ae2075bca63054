"""How figures look: one colour for a method everywhere, on paper and on slides."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

COLOURS = (
    "#d55e00",
    "#0072b2",
    "#707070",
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#cc79a7",
    "#8c6d31",
)
"""All but grey and brown are M. Okabe's and K. Ito's for colour-blind readers."""
_METHODS = {
    "DSGD": ("#d55e00", "#e69f00", "#cc79a7"),
    "TELEPORTATION": ("#0072b2", "#56b4e9", "#009e73"),
    "All-reduce": ("#707070",),
}
"""The colours of a method's variants, in the order of the figure."""
_OTHERS = ("#009e73", "#cc79a7", "#8c6d31")

_SIZES: dict[str, dict[str, Any]] = {
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
    >>> figure.get_size_inches().tolist(), mpl.colors.to_hex(figure.get_facecolor())
    ([3.25, 2.3], '#111111')
    >>> plt.close(figure)
    """
    if size not in _SIZES:
        raise ValueError(
            f"style: got size={size!r}, expected one of {', '.join(_SIZES)}."
        )
    settings: Any = _SIZES[size] | (_DARK if dark else {})
    with mpl.rc_context(settings):
        yield


def colours(methods: Iterable[str]) -> dict[str, str]:
    """A colour for every name, the same in every figure that has the same methods.

    DSGD is vermilion and orange, TELEPORTATION blue, all-reduce grey, whatever stands
    first; what begins with no such word takes green, purple and brown. After eight
    colours they come again.

    Args:
      methods: their names, in the order of the figure.

    Returns:
      Name to colour, as #rrggbb.

    >>> colours(["TELEPORTATION, k = 8", "DSGD", "mine"])
    {'TELEPORTATION, k = 8': '#0072b2', 'DSGD': '#d55e00', 'mine': '#009e73'}
    """
    found: dict[str, str] = {}
    for name in methods:
        family = next((m for m in _METHODS if name.lower().startswith(m.lower())), "")
        wished = (*_METHODS.get(family, ()), *_OTHERS, *COLOURS)
        used = list(found.values())[len(found) // len(COLOURS) * len(COLOURS) :]
        found[name] = next(colour for colour in wished if colour not in used)
    return found


def kept(draw: Callable[[int], list[Any]]) -> Callable[[int], list[Any]]:
    """A function that draws frames, later, with the style that holds now."""
    settings: Any = dict(mpl.rcParams)

    def drawn(frame: int) -> list[Any]:
        with mpl.rc_context(settings):
            return draw(frame)

    return drawn


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
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
