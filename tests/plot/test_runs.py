"""Figures of runs carry the numbers of the runs."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tele_jax import plot
from tests.runs_by_hand import by_hand

SEEDS = np.array([[4.0, 2.0, 1.0], [8.0, 2.0, 5.0]])
RUN = by_hand({"loss": SEEDS, "grad_norm_sq": SEEDS}, messages=6, num_slots=4)
TIMED = by_hand({"loss": SEEDS}, seconds=0.5, bytes=8.0)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.mark.parametrize(
    ("against", "run", "x", "label"),
    [
        ("rounds", RUN, [0, 10, 20], "rounds"),
        ("gradients", RUN, [40, 80], "gradients, over all nodes"),
        ("messages", RUN, [60, 120], "messages (models sent)"),
        ("seconds", TIMED, [5.0, 10.0], "simulated seconds"),
        ("bytes", TIMED, [80.0, 160.0], "bytes sent"),
    ],
)
def test_convergence_draws_the_mean_of_the_seeds(against, run, x, label):
    axes = plot.convergence({"DSGD": run}, "loss", against=against)
    (line,) = axes.lines
    assert line.get_xdata().tolist() == x
    assert line.get_ydata().tolist() == [6.0, 2.0, 3.0][-len(x) :]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (label, "f(x̄)")
    assert axes.get_xscale() == ("linear" if against == "rounds" else "log")
    assert [text.get_text() for text in axes.get_legend().texts] == ["DSGD"]
    assert line.get_color() == plot.colours(["DSGD"])["DSGD"]


def test_one_run_needs_no_name_and_the_axes_may_be_given():
    _, axes = plt.subplots()
    assert plot.convergence(RUN[0], "grad_norm_sq", axes=axes) is axes
    assert axes.lines[0].get_ydata().tolist() == [4.0, 2.0, 1.0]
    assert axes.get_yscale() == "log"
    assert axes.get_legend() is None


def test_u_curve_marks_the_best_and_the_theory():
    runs = {
        k: by_hand({"grad_norm_sq": np.full((2, 10), end)}, num_slots=k)
        for k, end in ((8, 3.0), (2, 4.0), (4, 1.0))
    }
    axes = plot.u_curve(runs, theory=5.0)
    points, ring, line = axes.lines[0], axes.lines[-2], axes.lines[-1]
    assert points.get_xdata().tolist() == [2, 4, 8]
    assert points.get_ydata().tolist() == [4.0, 1.0, 3.0]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (4, 1.0)
    assert line.get_xdata()[0] == 5.0
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["2", "4", "8"]


def test_u_curve_averages_the_last_fifth():
    values = np.r_[np.full(8, 100.0), 1.0, 3.0]
    axes = plot.u_curve({4: by_hand({"grad_norm_sq": values})})
    assert axes.lines[0].get_ydata().tolist() == [2.0]


def test_what_diverged_is_in_the_legend():
    half = by_hand({"loss": np.array([[4.0, 2.0, np.nan], [4.0, 2.0, 1.0]])})
    axes = plot.convergence({"DSGD": half})
    assert axes.get_legend().texts[0].get_text() == "DSGD (1 of 2 diverged)"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [4.0, 2.0, np.nan])
    whole = by_hand({"loss": np.array([4.0, 2.0])}, num_slots=2)
    axes = plot.u_curve({2: whole, 4: half}, "loss")
    assert axes.lines[0].get_xdata().tolist() == [2]
    assert "k = 4 diverged" in [text.get_text() for text in axes.get_legend().texts]


def test_a_method_that_diverged_leaves_the_others():
    axes = plot.convergence({"DSGD": GONE, "TELEPORTATION": RUN})
    labels = [text.get_text() for text in axes.get_legend().texts]
    assert labels == ["DSGD (2 of 2 diverged)", "TELEPORTATION"]
    assert axes.get_legend().get_title().get_text() == "mean ± s.d. of 2 seeds"
    assert axes.lines[1].get_ydata().tolist() == [6.0, 2.0, 3.0]


def test_a_line_without_a_point_is_no_picture():
    one = by_hand({"loss": np.array([[1.0, np.nan, np.nan], [1.0, 0.5, 0.2]])})
    with pytest.raises(ValueError, match="no loss that could be drawn"):
        plot.convergence({"DSGD": one})


def test_zeros_are_left_out_of_a_logarithmic_axis():
    run = by_hand({"consensus_distance": np.array([0.0, 2.0, 1.0])})
    axes = plot.convergence(run, "consensus_distance")
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [np.nan, 2.0, 1.0])


def test_bars_of_a_u_curve_are_one_deviation():
    run = by_hand({"loss": np.array([[1.0, 0.0], [1.0, 10.0]])})
    axes = plot.u_curve({4: run}, "loss")
    (bar,) = axes.collections[0].get_segments()
    np.testing.assert_allclose(bar[:, 1], 5 + np.array([-1, 1]) * 10 / np.sqrt(2))


GONE = by_hand({"loss": np.array([[1.0, np.nan, np.nan], [1.0, np.inf, np.nan]])})
ALONE = by_hand({"loss": np.ones(3)}, messages=0)
SWEEP = by_hand({"loss": np.ones((2, 5, 3)), "grad_norm_sq": np.ones((2, 5, 3))})


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: plot.convergence({}), "convergence: got no run"),
        (lambda: plot.u_curve({}), "u_curve: got no run"),
        (
            lambda: plot.convergence({"DSGD": RUN}, "accuracy"),
            "got metric='accuracy', but the run of 'DSGD' measured loss, grad_norm_sq",
        ),
        (
            lambda: plot.convergence(GONE),
            "no loss that could be drawn after the start",
        ),
        (lambda: plot.convergence([RUN]), "convergence: got list, expected runs by"),
        (lambda: plot.u_curve(RUN), "u_curve: got Run, expected runs by their k"),
        (lambda: plot.u_curve({"DSGD": RUN}), "got 'DSGD' as a k, expected integers"),
        (lambda: plot.u_curve({2: RUN}), "got a run of 4 slots as that of k = 2"),
        (lambda: plot.u_curve({4: GONE}, "loss"), "finite at the end for no k"),
        (lambda: plot.convergence(ALONE, against="messages"), "took no messages"),
        (lambda: plot.convergence(SWEEP), r"got loss\[2, 5, 3\], expected \[e\], or"),
        (
            lambda: plot.convergence({"a": RUN}, against="seconds"),
            "the run of 'a' counted rounds, gradients, messages; tele.Timed",
        ),
        (lambda: plot.convergence(RUN, against="hours"), "got against='hours'"),
        (
            lambda: plot.convergence(RUN.replace(rounds=RUN.rounds + 50)),
            "concatenate",
        ),
        (lambda: plot.u_curve({4: RUN}, "accuracy"), "u_curve: got metric='accuracy'"),
    ],
)
def test_what_cannot_be_drawn_is_told(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()


def test_distances_are_those_of_the_models():
    models = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    axes = plot.distances(by_hand({"loss": np.ones(2)}, params=models))
    found = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(found, np.hypot(*(models[:, None] - models).T))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("slot b", "slot a")


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (RUN, r"got a sweep of \(2,\) runs, expected one"),
        (by_hand({"loss": np.ones(2)}, params=np.full((2, 2), np.nan)), "not finite"),
        (by_hand({"loss": np.ones(2)}, params=np.ones((2001, 1))), "2,001 slots"),
    ],
)
def test_distances_that_cannot_be_drawn_are_told(run, words):
    with pytest.raises(ValueError, match=words):
        plot.distances(run)
