"""Tokens: who holds which, drawn and animated."""

import matplotlib as mpl

mpl.use("Agg")

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import tele_jax as tele
from tele_jax import plot
from tele_jax.draw import draw_active

KEY = jax.random.key(3)
HELD = np.array([[0, 3], [2, 1], [4, 0]])


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_holders_are_those_of_the_run():
    method = tele.Teleportation(tele.graphs.ring(3), 0.1)
    held = plot.holders(method, KEY, num_nodes=7, num_rounds=5)
    for t in range(5):
        key = jax.random.split(jax.random.fold_in(KEY, t))[1]
        assert held[t].tolist() == draw_active(key, 7, 3).tolist()


def test_of_dsgd_every_node_holds_its_own():
    method = tele.DSGD(tele.graphs.ring(4), 0.1)
    held = plot.holders(method, KEY, num_nodes=4, num_rounds=2)
    assert held.tolist() == [[0, 1, 2, 3]] * 2


def test_clocks_do_not_change_who_holds_what():
    net = tele.Network(tele.network.same(0.1), tele.network.constant(1.0))
    method = tele.Teleportation(tele.graphs.ring(3), 0.1)
    held = [
        plot.holders(each, KEY, num_nodes=7, num_rounds=4)
        for each in (method, tele.Timed(method, net))
    ]
    np.testing.assert_array_equal(*held)


def test_who_is_gone_leaves_a_gap():
    axes = plot.token_paths(np.array([[0, 3], [2, -1]]))
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [3, np.nan])


def test_a_film_keeps_the_style_it_was_made_in():
    with plot.style(dark=True):
        film = plot.animate_tokens(HELD, tele.graphs.ring(2), num_nodes=5)
    film._func(0)
    assert film._fig.axes[0].title.get_color() == "#dddddd"
    film._draw_was_started = True


def test_a_line_for_every_token():
    axes = plot.token_paths(HELD)
    assert [line.get_ydata().tolist() for line in axes.lines] == HELD.T.tolist()
    assert axes.lines[0].get_xdata().tolist() == [0, 1, 2]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("round", "node")


def test_tokens_arrive_and_then_gossip():
    topology = tele.graphs.ring(2)
    film = plot.animate_tokens(HELD, topology, num_nodes=5, frames_per_round=3)
    axes = film._fig.axes[0]
    nodes = [np.array([np.sin(a), np.cos(a)]) for a in 2 * np.pi * np.arange(5) / 5]

    def tokens(frame):
        film._func(frame)
        return axes.collections[-1].get_offsets()

    half = tokens(3)  # round 1, on its way
    np.testing.assert_allclose(half[0], (nodes[0] + nodes[2]) / 2)
    assert not axes.lines
    np.testing.assert_allclose(tokens(4), [nodes[2], nodes[1]])
    assert axes.get_title() == "round 1"
    ends = {tuple(np.round(line.get_xydata()[0], 6)) for line in axes.lines}
    assert ends == {tuple(np.round(nodes[i], 6)) for i in (1, 2)}
    film._draw_was_started = True  # nobody looks at it


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: plot.holders(
                tele.DSGD(tele.graphs.ring(2), 0.1), KEY, num_nodes=2, num_rounds=0
            ),
            "holders: got num_rounds=0",
        ),
        (lambda: plot.token_paths(np.arange(3)), r"token_paths: got holders of shape"),
        (
            lambda: plot.animate_tokens(HELD, tele.graphs.ring(2), num_nodes=4),
            "got num_nodes=4 and tokens at nodes 0 to 4, expected",
        ),
        (
            lambda: plot.animate_tokens(
                HELD, tele.graphs.ring(2), num_nodes=9, frames_per_round=0
            ),
            "got frames_per_round=0",
        ),
        (
            lambda: plot.animate_tokens(HELD, tele.graphs.ring(3), num_nodes=9),
            "a topology of 3 slots, expected 2",
        ),
    ],
)
def test_what_cannot_be_drawn_is_told(call, words):
    with pytest.raises(ValueError, match=words):
        call()
