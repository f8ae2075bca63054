"""Who owns which labels: bars of the right heights, stacked."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tele_jax import plot


@pytest.mark.parametrize("num_classes", [3, 12])
def test_label_histogram_stacks_the_counts(num_classes):
    counts = np.random.default_rng(0).integers(0, 9, (4, num_classes))
    axes = plot.label_histogram(counts)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("node", "examples owned")
    bars = axes.containers
    assert [bar.get_label() for bar in bars] == [str(i) for i in range(num_classes)]
    heights = np.array([[patch.get_height() for patch in bar] for bar in bars])
    np.testing.assert_array_equal(heights, counts.T)
    bottoms = np.array([[patch.get_y() for patch in bar] for bar in bars])
    np.testing.assert_array_equal(bottoms, np.cumsum(counts.T, axis=0) - counts.T)
    assert [text.get_text() for text in axes.get_legend().texts] == [
        str(i) for i in range(num_classes)
    ]
    assert len({bar[0].get_facecolor() for bar in bars}) == num_classes
    plt.close(axes.figure)
