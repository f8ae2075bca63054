"""Consensus curves: the errors of a double loop, told apart, dots where exact."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

import tele_jax as tele
from tele_jax import graphs, plot
from tests.analysis.test_trajectory import by_hand


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def _lines(axes):
    handles, labels = axes.get_legend_handles_labels()
    return dict(zip(labels, handles, strict=True))


TOPOLOGIES = {
    "ring": graphs.ring(8),
    "Base-2": graphs.base_graph(6, 1),
    "exponential": graphs.exponential(7),
}


@pytest.mark.parametrize("against", ["rounds", "messages"])
def test_lines_are_those_of_a_double_loop(axes, against):
    plot.consensus(TOPOLOGIES, num_rounds=6, against=against, axes=axes)
    assert axes.get_yscale() == "log"
    assert against in axes.get_xlabel()
    lines = _lines(axes)
    assert list(lines) == list(TOPOLOGIES)
    for name, topology in TOPOLOGIES.items():
        errors, messages = by_hand(tele.to_matrices(topology, 6), seed=0)
        per_slot = np.array(messages) / topology.num_slots
        x = np.arange(7) if against == "rounds" else per_slot
        # Lines end on the floor.
        drawn = np.count_nonzero(errors > 1e-6) + 1
        expected = np.maximum(errors, 1e-6)[:drawn]
        np.testing.assert_allclose(lines[name].get_xdata(), x[:drawn])
        np.testing.assert_allclose(lines[name].get_ydata(), expected, rtol=1e-9)


def test_a_dot_marks_the_exact_round(axes):
    plot.consensus(TOPOLOGIES, num_rounds=6, axes=axes)
    lines = _lines(axes)
    exact = tele.analysis.exact_after(TOPOLOGIES["Base-2"])
    assert lines["Base-2"].get_markevery() == [exact]
    assert lines["Base-2"].get_ydata()[exact] == 1e-6
    assert lines["Base-2"].get_ydata()[exact - 1] > 1e-3
    assert lines["Base-2"].get_marker() == "o"
    assert lines["ring"].get_marker() == ""


def test_a_logarithmic_axis_leaves_out_zero_and_moves_the_dot(axes):
    x = np.array([0.0, 0.0, 0.5, 1.0])
    pair = {"pair": (x, np.array([1.0, 1.0, 0.5, 1e-16]))}
    plot.consensus_curves(
        pair, {"pair": 3}, xlabel="messages", logarithmic=True, axes=axes
    )
    line = _lines(axes)["pair"]
    np.testing.assert_array_equal(line.get_xdata(), [0.5, 1.0])
    assert line.get_markevery() == [1]
    assert axes.get_xscale() == "log"


def test_an_exact_round_that_is_not_drawn_has_no_dot(axes):
    pair = {"pair": (np.arange(3), np.array([1.0, 0.9, 0.8]))}
    plot.consensus_curves(pair, {"pair": 3}, xlabel="rounds", axes=axes)
    assert _lines(axes)["pair"].get_marker() == ""


def test_lines_below_others_of_the_same_numbers_are_wider(axes):
    same = np.array([1.0, 0.5, 0.2])
    lines = {name: (np.arange(3), same) for name in ("lowest", "middle", "top")}
    lines["other"] = np.arange(3), 0.9 * same
    plot.consensus_curves(lines, dict.fromkeys(lines), xlabel="rounds", axes=axes)
    widths = {name: line.get_linewidth() for name, line in _lines(axes).items()}
    assert widths["lowest"] > widths["middle"] + 1 > widths["top"] + 2
    assert widths["top"] == widths["other"]


def test_every_line_can_be_told_apart(axes):
    lines = {str(i): (np.arange(2), np.ones(2)) for i in range(32)}
    plot.consensus_curves(lines, dict.fromkeys(lines), xlabel="rounds", axes=axes)
    looks = {(line.get_color(), line.get_linestyle()) for line in _lines(axes).values()}
    assert len(looks) == 32
    first = list(_lines(axes).values())[:8]
    assert [line.get_color() for line in first] == list(plot.COLOURS)
    assert {line.get_linestyle() for line in first} == {"-"}


def test_the_floor_is_drawn_and_named(axes):
    plot.consensus({"ring": graphs.ring(4)}, num_rounds=2, axes=axes)
    (note,) = axes.texts
    assert note.get_text() == "rounding of float32 weights"
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), 1e-6)


def test_another_axis_is_refused(axes):
    with pytest.raises(ValueError, match=r'got against=.*"rounds" or "messages"'):
        plot.consensus({}, num_rounds=2, against="round", axes=axes)
