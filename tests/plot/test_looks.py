"""Colours: one for a method everywhere, and told apart by colour-blind readers."""

import itertools

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tele_jax import plot

# Machado, Oliveira, Fernandes, A Physiologically-based Model for Simulation of Color
# Vision Deficiency, IEEE TVCG 15 (2009), Table 1, severity 1: of linear RGB.
SEEN_BY = {
    "everybody": np.eye(3),
    "protanopes": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopes": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
METHODS = [
    *("DSGD, ring", "TELEPORTATION, ring", "All-reduce SGD"),
    *("DSGD, Base-2", "TELEPORTATION, Base-2"),
]


def linear(colour):
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIELAB of linear RGB, white point D65."""
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    xyz = np.array(to_xyz) @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", SEEN_BY)
@pytest.mark.parametrize("dark", [False, True])
def test_methods_are_told_apart(eyes, dark):
    with plot.style(dark=dark):
        colours = plot.colours(METHODS).values()
    seen = [lab(np.array(SEEN_BY[eyes]) @ linear(colour)) for colour in colours]
    for one, other in itertools.combinations(seen, 2):
        # 2.3 can just be noticed side by side.
        assert np.linalg.norm(one - other) > 17


@pytest.mark.parametrize("dark", [False, True])
def test_lines_stand_out_from_the_ground(dark):
    with plot.style(dark=dark):
        ground = linear(mpl.rcParams["axes.facecolor"]) @ [0.2126, 0.7152, 0.0722]
        for colour in plot.colours(METHODS[:3]).values():
            line = linear(colour) @ [0.2126, 0.7152, 0.0722]
            low, high = sorted((ground, line))
            assert (high + 0.05) / (low + 0.05) > 3  # WCAG's bound for graphics


def test_a_method_has_its_colour_whatever_stands_first():
    first = plot.colours(["TELEPORTATION", "DSGD, ring", "DSGD, Base-2", "mine"])
    then = plot.colours(["dsgd on a ring", "mine", "Teleportation, k = 8"])
    assert first["TELEPORTATION"] == then["Teleportation, k = 8"]
    assert first["DSGD, ring"] == then["dsgd on a ring"]
    assert first["mine"] == then["mine"]
    assert len(set(first.values())) == 4
    many = plot.colours([f"TELEPORTATION, k = {k}" for k in range(5)]).values()
    assert not {"#d55e00", "#707070"} & set(many)  # DSGD's and all-reduce's


def test_a_style_ends_with_its_block():
    before = dict(mpl.rcParams)
    with plot.style("slide", dark=True):
        assert mpl.rcParams["font.size"] == 18
    assert dict(mpl.rcParams) == before
    with pytest.raises(ValueError, match="got size='poster', expected one of notebook"):
        plot.style("poster").__enter__()


def test_thick_lines_on_slides():
    x = np.arange(2), np.ones((1, 2))
    with plot.style("slide"):
        axes = plot.curves({"DSGD": x}, xlabel="x", ylabel="y")
    assert axes.lines[0].get_linewidth() == pytest.approx(1.2 * 2.6)
    plt.close("all")
