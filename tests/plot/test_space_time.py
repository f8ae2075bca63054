"""The picture of a run is drawn from its moments."""

import matplotlib as mpl

mpl.use("Agg")

import chex
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import tele_jax as tele
from tele_jax import graphs, network, plot

KEY = jax.random.key(6)
NET = tele.Network(
    network.same(0.3, 8.0), network.log_normal(np.linspace(0.8, 1.6, 10), 0.3)
)
DOWN = tele.Failures(network.outages(jax.random.key(4), 0.25, 3))
METHODS = {
    "dsgd": (tele.DSGD(graphs.ring(10), 0.1), 0),
    "merged": (tele.Teleportation(graphs.ring(3), 0.1), 0),
    "crashes": (tele.UnreliableTeleportation(graphs.ring(3), 0.1, DOWN), 2),
}


def _trace(name, num_rounds=6):
    timed = tele.Timed(METHODS[name][0], NET)
    return plot.trace(timed, KEY, num_nodes=10, num_rounds=num_rounds)


@pytest.mark.parametrize("name", METHODS)
def test_a_trace_has_the_moments_of_the_run(name):
    method, lost = METHODS[name]
    traced = _trace(name, 8)
    run = tele.simulate(
        tele.Timed(method, NET), network.Still(10), jnp.float32(0.0), KEY, num_rounds=8
    )
    chex.assert_trees_all_close(
        traced.done.max(axis=1), tele.metrics.elapsed(run.info), rtol=1e-5
    )
    assert traced.lost.sum() == lost
    assert (traced.start <= traced.computed).all()
    assert (traced.computed <= traced.done).all()


def test_the_picture_carries_the_steps_the_hops_and_the_crosses():
    traced = _trace("crashes")
    axes = plot.space_time(traced)
    bars = {(bar.get_x(), bar.get_y() + 0.275) for bar in axes.patches}
    expected = {
        (start, node)
        for start, node in zip(traced.start.ravel(), traced.nodes.ravel(), strict=True)
    }
    chex.assert_trees_all_close(
        np.array(sorted(bars)), np.array(sorted(expected)), rtol=1e-6
    )
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert len(crosses) == traced.lost.sum() == 2
    moved = (traced.source[1:] != traced.nodes[1:]) & ~traced.lost[1:]
    assert len(axes.texts) == moved.sum()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("simulated seconds", "node")
    plt.close(axes.figure)


def test_what_is_not_yet_is_not_drawn():
    traced = _trace("merged")
    until = float(np.median(traced.start))
    axes = plot.space_time(traced, until=until)
    assert len(axes.patches) == (traced.start <= until).sum() < traced.start.size
    assert max(bar.get_x() + bar.get_width() for bar in axes.patches) <= until + 1e-9
    plt.close(axes.figure)


def test_the_animation_ends_with_the_picture(tmp_path):
    traced = _trace("merged", 3)
    animation = plot.animate(traced, frames=3)
    animation.save(tmp_path / "tokens.gif", writer="pillow", fps=5)
    assert (tmp_path / "tokens.gif").stat().st_size < 200_000
    (axes,) = animation._fig.axes
    assert len(axes.patches) == traced.start.size
    plt.close("all")


@pytest.mark.parametrize(("num_nodes", "num_rounds"), [(10, 0), (201, 3), (0, 3)])
def test_too_much_or_nothing_is_told(num_nodes, num_rounds):
    timed = tele.Timed(METHODS["merged"][0], NET)
    with pytest.raises(ValueError, match="trace: got num_rounds="):
        plot.trace(timed, KEY, num_nodes=num_nodes, num_rounds=num_rounds)


def test_nodes_of_dsgd_that_die_are_marked():
    down = tele.Failures(network.planned([0, 2, 0], [0, 6, 0]))
    method = tele.UnreliableDSGD(graphs.ring(3), 0.1, down)
    traced = plot.trace(tele.Timed(method, NET.replace(compute=network.constant(1.0))),
                        KEY, num_nodes=3, num_rounds=4)  # fmt: skip
    assert np.argwhere(traced.lost).tolist() == [[2, 1]]
    axes = plot.space_time(traced)
    assert [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "x"] == [
        1
    ]
    plt.close(axes.figure)
