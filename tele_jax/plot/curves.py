"""Methods against each other: curves with a band over seeds."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes

COLOURS = ("#d1495b", "#00798c", "#595959", "#edae49", "#66a182", "#8d6a9f")
"""Told apart by most colour-blind readers, and in this order in every figure."""


def curves(
    axes: Axes,
    by_method: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    xlabel: str,
    ylabel: str,
    linestyle: str = "-",
    logarithmic: bool = False,
) -> None:
    """Draw one line per method: the mean over seeds, with a band of ± one s.d.

    The s.d. is that of the sample, and 0 for a single seed.

    Args:
      axes: where to draw.
      by_method: name to (x [e], y [seeds, e]).
      xlabel: what x counts, with its unit.
      ylabel: what y measures.
      linestyle: as in Matplotlib; lines that are not solid get no legend entry.
      logarithmic: draw x on a logarithmic axis, and leave out what stands at x = 0.

    >>> import matplotlib.pyplot as plt
    >>> figure, axes = plt.subplots()
    >>> rounds, accuracy = np.arange(3), np.array([[0.1, 0.5, 0.7], [0.1, 0.6, 0.8]])
    >>> curves(axes, {"DSGD": (rounds, accuracy)}, xlabel="round", ylabel="accuracy")
    >>> axes.lines[0].get_ydata().round(2).tolist()
    [0.1, 0.55, 0.75]
    >>> plt.close(figure)
    """
    # strict=False: the colours go round, the methods end.
    for (name, (x, y)), colour in zip(by_method.items(), cycle(COLOURS), strict=False):
        shown = x > 0 if logarithmic else np.ones(len(x), bool)
        x, y = x[shown], y[:, shown]
        mean = y.mean(axis=0)
        deviation = y.std(axis=0, ddof=min(1, len(y) - 1))
        label = name if linestyle == "-" else None
        axes.plot(
            x, mean, color=colour, linestyle=linestyle, label=label, linewidth=1.8
        )
        if linestyle == "-":
            axes.fill_between(
                x, mean - deviation, mean + deviation, color=colour, alpha=0.18, lw=0
            )
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
