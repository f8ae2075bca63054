"""The mixing matrices that were computed with the authors' code."""

import json
from pathlib import Path

import numpy as np

import tele_jax as tele

_DATA = Path(__file__).parents[1] / "oracles_data"


def oracles(graph):
    """The names of the files of one family of graphs."""
    paths = sorted(_DATA.glob(f"{graph}_[0-9]*.json"))
    return [path.stem for path in paths]


def assert_is_the_authors(name, build):
    """``build(n)``, or ``build(n, k)`` of a family of so many partners, is the file's.

    Their weights are float64 and ours float32: off by half a unit of numbers below 1,
    2⁻²⁵, and rounded once more where ours are differences.
    """
    oracle = json.loads((_DATA / f"{name}.json").read_text())
    arguments = [oracle[key] for key in ("n", "k") if key in oracle]
    topology = build(*arguments)
    assert topology.num_slots == oracle["n"]
    assert topology.period == oracle["rounds"]
    np.testing.assert_allclose(
        tele.to_matrices(topology), oracle["mixing_matrices"], rtol=0, atol=2**-24
    )
