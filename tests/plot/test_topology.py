"""Drawn topologies: an edge for every weight, a panel for every round."""

import matplotlib as mpl

mpl.use("Agg")

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import tele_jax as tele
from tele_jax import graphs, plot
from tele_jax.mixing import Push
from tele_jax.plot import positions

KEY = jax.random.key(0)


class Pushed:
    """Slot 0 tells all others, and 2 tells 0."""

    num_slots, period = 4, 1

    def at(self, t):
        """Columns are what a slot sends."""
        del t
        targets = [[0, 1, 2, 3], [1, 1, 0, 3], [2, 1, 2, 3], [3, 1, 2, 3]]
        weights = [
            [0.7, 0.6, 0.6, 0.6],
            [0.4, 0, 0.3, 0],
            [0.4, 0, 0, 0],
            [0.4, 0, 0, 0],
        ]
        return Push(jnp.array(targets, jnp.int32), jnp.array(weights, jnp.float32))


TOPOLOGIES = {
    "ring": graphs.ring(7),
    "star": graphs.star(6),
    "complete": graphs.complete(5),
    "exponential": graphs.exponential(8),  # arrows, and lines between opposite slots
    "base_graph": graphs.base_graph(7, 1),
    "push": Pushed(),
    "repeat": graphs.repeat(graphs.one_peer_exponential(6), 2),
    "one_slot": graphs.ring(1),
}


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def _collection(axes, gid):
    found = [each for each in axes.collections if each.get_gid() == gid]
    assert len(found) <= 1
    return found[0] if found else None


def _ends(axes, gid, where):
    """Pairs of slots that the lines of an axes join, first to last."""
    lines = _collection(axes, gid)
    if lines is None:
        return []
    ends = np.array(lines.get_segments())
    apart = np.linalg.norm(ends[:, :, None] - where[None, None], axis=3)
    assert apart.min(axis=2).max() < 1e-9
    return [tuple(pair) for pair in apart.argmin(axis=2).tolist()]


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_draws_an_edge_for_every_weight(name):
    topology = TOPOLOGIES[name]
    num_rounds = topology.period or 3
    where = positions.fitted(positions.circle_positions(topology.num_slots))
    figure = plot.topology(topology, positions=where, num_rounds=num_rounds)
    assert len(figure.axes) == num_rounds
    matrices = tele.to_matrices(topology, num_rounds)
    for axes, matrix in zip(figure.axes, matrices, strict=True):
        heard = (matrix != 0) & ~np.eye(topology.num_slots, dtype=bool)
        both = {tuple(pair) for pair in np.argwhere(np.triu(heard & heard.T)).tolist()}
        one = {tuple(pair) for pair in np.argwhere(heard & ~heard.T).tolist()}
        pairs, arrows = (_ends(axes, gid, where) for gid in ("pairs", "arrows"))
        assert (len(pairs), len(arrows)) == (len(both), len(one))
        assert {tuple(sorted(pair)) for pair in pairs} == both
        assert set(arrows) == one  # from who is heard to who hears
        assert len(_collection(axes, "slots").get_paths()) == topology.num_slots


def test_arrow_heads_touch_the_circle_of_who_hears():
    topology = graphs.one_peer_exponential(5)
    where = positions.fitted(positions.circle_positions(5))
    axes = plot.topology(topology, positions=where).axes[0]
    arrows = _ends(axes, "arrows", where)
    heads = _collection(axes, "heads").get_paths()
    radius = np.ptp(_collection(axes, "slots").get_paths()[0].vertices[:, 0]) / 2
    for (_, receiver), head in zip(arrows, heads, strict=True):
        tip = head.vertices[0]
        assert np.linalg.norm(tip - where[receiver]) == pytest.approx(radius, rel=1e-6)


def test_larger_weights_are_wider_and_darker():
    uneven = tele.from_matrices(
        np.array([[0.3, 0.6, 0.1], [0.6, 0.4, 0.0], [0.1, 0.0, 0.9]])
    )
    axes = plot.topology(uneven).axes[0]
    lines = _collection(axes, "pairs")
    heavy, light = lines.get_linewidths()
    assert heavy > 1.5 * light
    assert lines.get_colors()[0, 3] > 1.5 * lines.get_colors()[1, 3]


@pytest.mark.parametrize(
    ("topology", "count"),
    [
        (graphs.ring(5), 1),
        (graphs.one_peer_exponential(8), 3),
        (graphs.random_matching(6, KEY), 4),
        (graphs.base_graph(77, 1), 12),
    ],
)
def test_the_number_of_panels(topology, count):
    figure = plot.topology(topology, title="some graph")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ([f"round {t}" for t in range(count)] if count > 1 else [""])
    said = figure.get_suptitle()
    assert said.startswith("some graph")
    cut = topology.period is not None and topology.period > count
    assert (f"the first {count} rounds of {topology.period}" in said) == cut
    assert len(plot.topology(topology, num_rounds=2).axes) == 2


@pytest.mark.parametrize(("size", "numbered"), [(40, True), (41, False)])
def test_few_slots_are_numbered(size, numbered):
    (axes,) = plot.topology(graphs.ring(size)).axes
    expected = [str(slot) for slot in range(size)] if numbered else []
    assert [text.get_text() for text in axes.texts] == expected
    for slot, text in enumerate(axes.texts):
        where = positions.circle_positions(size)[slot]
        np.testing.assert_allclose(text.get_position(), where, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: plot.topology(graphs.ring(201)), "topology: got 201 slots, expected"),
        (
            lambda: plot.topology(graphs.ring(5), num_rounds=0),
            "topology: got num_rounds=0, expected at least 1",
        ),
        (
            lambda: plot.topology(graphs.ring(5), positions=np.zeros((4, 2))),
            r"topology: got positions of shape \(4, 2\), expected \[5, 2\]",
        ),
        (lambda: plot.gallery({}), "gallery: got no topology"),
        (lambda: plot.gallery({"a": graphs.ring(999)}), "gallery: got 999 slots"),
        (
            lambda: plot.gallery({"a": graphs.ring(5)}, {"b": np.zeros((5, 2))}),
            "gallery: got positions of 'b', expected names of the topologies: a",
        ),
        (
            lambda: plot.gallery({"a": graphs.ring(5)}, {"a": np.zeros((5, 3))}),
            r"gallery: got positions of shape \(5, 3\)",
        ),
    ],
)
def test_what_cannot_be_drawn_is_said(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_a_gallery_shows_every_edge_of_a_period_once():
    topologies = {
        "ring": graphs.ring(6),
        "Base-2": graphs.base_graph(6, 1),
        "matching": graphs.random_matching(6, KEY),
        "exponential": graphs.exponential(6),
    }
    figure = plot.gallery(topologies)
    panels = figure.axes[:4]
    assert [axes.get_title() for axes in panels] == [
        "ring\nperiod 1, ≤ 2 partners",
        "Base-2\nperiod 4, ≤ 1 partner",
        "matching\none random round",
        "exponential\nperiod 1, ≤ 3 partners",
    ]
    for axes, topology in zip(panels, topologies.values(), strict=True):
        matrices = tele.to_matrices(topology, topology.period or 1)
        heard = (matrices != 0).any(axis=0) & ~np.eye(6, dtype=bool)
        segments = [
            frozenset(map(tuple, np.round(segment, 6).tolist()))
            for lines in axes.collections
            if lines.get_gid() in ("pairs", "arrows")
            for segment in lines.get_segments()
        ]
        directed = (heard & ~heard.T).sum()
        assert len(segments) == len(set(segments))
        assert len(segments) == np.triu(heard & heard.T).sum() + directed


def test_the_colour_of_an_edge_is_that_of_its_first_round():
    figure = plot.gallery({"pairs": graphs.one_peer_hypercube(8)})
    lines = [each for each in figure.axes[0].collections if each.get_gid() == "pairs"]
    assert [len(each.get_segments()) for each in lines] == [4, 4, 4]
    colours = np.array([each.get_colors()[0, :3] for each in lines])
    light = colours @ [0.3, 0.6, 0.1]
    # The first round, dark, is drawn last and lies on top.
    assert (np.diff(light) < -0.1).all()


def test_a_gallery_takes_positions_by_name():
    where = positions.fitted(plot.grid_positions(3, 4))
    figure = plot.gallery(
        {"ring": graphs.ring(12), "torus": graphs.torus(3, 4)}, {"torus": where}
    )
    ring, torus = figure.axes
    assert len(_ends(torus, "pairs", where)) == 24
    assert len(_ends(ring, "pairs", positions.circle_positions(12))) == 12
