"""Who owns which labels."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tele_jax.plot import looks


def label_histogram(counts: np.ndarray, *, axes: Axes | None = None) -> Axes:
    """Who owns which labels: one bar per node, one colour per label.

    Args:
      counts: int[n, classes], as ``tasks.partition.label_counts`` gives it.
      axes: where to draw; new ones by default.

    Returns:
      The axes.

    Raises:
      ValueError: counts are not of nodes and classes.

    >>> axes = label_histogram(np.array([[3, 0], [1, 2]]))
    >>> len(axes.patches)  # a bar for every node and label
    4
    >>> plt.close(axes.figure)
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or not counts.size:
        raise ValueError(
            f"label_histogram: got counts of shape {counts.shape}, expected "
            "[n, classes], as tasks.partition.label_counts gives them."
        )
    num_nodes, num_classes = counts.shape
    if axes is None:
        axes = plt.subplots(figsize=(9, 3.2), layout="constrained")[1]
    below = np.zeros(num_nodes)
    palette = plt.get_cmap("tab10" if num_classes <= 10 else "tab20")
    for label in range(num_classes):
        axes.bar(
            np.arange(num_nodes),
            counts[:, label],
            bottom=below,
            width=1.0 if num_nodes > 100 else 0.9,
            color=palette(label % palette.N),
            label=str(label),
        )
        below += counts[:, label]
    axes.set(xlabel="node", ylabel="examples owned", xlim=(-0.6, num_nodes - 0.4))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    looks.tidy(axes)
    axes.legend(
        title="label", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False
    )
    return axes
