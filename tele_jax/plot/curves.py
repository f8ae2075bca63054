"""Curves of numbers, one per method, with a band over seeds."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from tele_jax.plot import looks


def curves(
    by_method: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    xlabel: str,
    ylabel: str,
    linestyle: str = "-",
    logarithmic: bool = False,
    axes: Axes | None = None,
) -> Axes:
    """Draw one line per method: the mean over seeds, with a band of ± one s.d.

    The s.d. is that of the sample, and 0 for a single seed. The colours are those of
    ``colours``. See ``convergence`` for runs.

    Args:
      by_method: name to (x [e], y [seeds, e]).
      xlabel: what x counts, with its unit.
      ylabel: what y measures.
      linestyle: as in Matplotlib; lines that are not solid get no legend entry.
      logarithmic: draw x on a logarithmic axis, and leave out what stands at x = 0.
      axes: where to draw; new ones by default.

    Returns:
      The axes.

    >>> import matplotlib.pyplot as plt
    >>> rounds, accuracy = np.arange(3), np.array([[0.1, 0.5, 0.7], [0.1, 0.6, 0.8]])
    >>> axes = curves({"DSGD": (rounds, accuracy)}, xlabel="round", ylabel="accuracy")
    >>> axes.lines[0].get_ydata().round(2).tolist()
    [0.1, 0.55, 0.75]
    >>> plt.close(axes.figure)
    """
    axes = looks.new_axes(axes)
    colours = looks.colours(by_method)
    for name, (x, y) in by_method.items():
        shown = x > 0 if logarithmic else np.ones(len(x), bool)
        x, y, colour = x[shown], y[:, shown], colours[name]
        mean = y.mean(axis=0)
        deviation = y.std(axis=0, ddof=min(1, len(y) - 1))
        label = name if linestyle == "-" else None
        width = looks.line_width()
        axes.plot(
            x, mean, color=colour, linestyle=linestyle, label=label, linewidth=width
        )
        if linestyle == "-":
            axes.fill_between(
                x, mean - deviation, mean + deviation, color=colour, alpha=0.18, lw=0
            )
    if logarithmic:
        _make_logarithmic(axes)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    looks.tidy(axes)
    return axes


def _make_logarithmic(axes: Axes) -> None:
    """Powers of ten, or 1, 2, 5 where there are few: Matplotlib's would overlap."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    if high < 100 * low:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:,.6g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
