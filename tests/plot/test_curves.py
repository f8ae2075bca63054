"""Curves: labelled axes, lines and bands at the right heights."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from tele_jax import plot


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


X = np.array([0, 10, 20])
Y = np.array([[4.0, 2.0, 1.0], [8.0, 2.0, 5.0]])


def _band(axes, number=0):
    """x -> (lowest, highest) of a band."""
    (path,) = axes.collections[number].get_paths()
    heights = {}
    for x, y in path.vertices:
        heights.setdefault(float(x), []).append(float(y))
    return {x: (min(ys), max(ys)) for x, ys in heights.items()}


def test_curves_draw_mean_and_deviation(axes):
    methods = {"DSGD": (X, Y), "TELEPORTATION": (X, 10 * Y)}
    plot.curves(methods, xlabel="rounds", ylabel="loss", axes=axes)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("rounds", "loss")
    assert axes.get_xscale() == "linear"
    first, second = axes.lines
    assert (first.get_label(), second.get_label()) == tuple(methods)
    np.testing.assert_array_equal(first.get_xdata(), X)
    np.testing.assert_allclose(first.get_ydata(), [6.0, 2.0, 3.0])
    np.testing.assert_allclose(second.get_ydata(), [60.0, 20.0, 30.0])
    # Of two seeds the sample s.d. is their distance by √2: 4, 0 and 4.
    half = 2 * np.sqrt(2)
    band = _band(axes)
    assert band[0] == pytest.approx((6 - half, 6 + half))
    assert band[10] == (2.0, 2.0)
    assert band[20] == pytest.approx((3 - half, 3 + half))
    assert _band(axes, 1)[0] == pytest.approx((60 - 10 * half, 60 + 10 * half))
    colours = [line.get_color() for line in axes.lines]
    assert colours == list(plot.COLOURS[:2])
    for band, colour in zip(axes.collections, colours, strict=True):
        np.testing.assert_allclose(band.get_facecolor()[0], to_rgba(colour, 0.18))


def test_a_logarithmic_axis_leaves_out_zero(axes):
    plot.curves(
        {"a": (X, Y)}, xlabel="bytes", ylabel="loss", logarithmic=True, axes=axes
    )
    assert axes.get_xscale() == "log"
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xdata(), [10, 20])
    np.testing.assert_allclose(line.get_ydata(), [2.0, 3.0])
    assert set(_band(axes)) == {10, 20}


def test_dashed_curves_have_no_band_and_no_legend_entry(axes):
    plot.curves({"a": (X, Y)}, xlabel="x", ylabel="y", linestyle="--", axes=axes)
    assert len(axes.lines) == 1
    assert axes.lines[0].get_linestyle() == "--"
    assert len(axes.collections) == 0
    assert axes.get_legend_handles_labels() == ([], [])


def test_more_methods_than_colours_start_over(axes):
    methods = {str(i): (X, Y) for i in range(len(plot.COLOURS) + 1)}
    plot.curves(methods, xlabel="x", ylabel="y", axes=axes)
    assert axes.lines[-1].get_color() == axes.lines[0].get_color()
    assert {line.get_color() for line in axes.lines} == set(plot.COLOURS)
