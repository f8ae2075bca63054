"""Who owns which labels."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def label_histogram(counts: np.ndarray, *, title: str = "") -> Figure:
    """Who owns which labels: one bar per node, one colour per label.

    Args:
      counts: int[n, classes], as ``tasks.partition.label_counts`` gives it.
      title: above the figure.

    Returns:
      The figure, to show or to save.

    >>> figure = label_histogram(np.array([[3, 0], [1, 2]]), title="two nodes")
    >>> len(figure.axes[0].patches)  # a bar for every node and label
    4
    >>> plt.close(figure)
    """
    num_nodes, num_classes = counts.shape
    figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
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
    axes.set_title(title)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(title="label", loc="outside right center", frameon=False)
    return figure
