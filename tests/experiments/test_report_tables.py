"""The tables of the neural study."""

import dataclasses

import pandas as pd
import pytest

from experiments.neural_recipe import Recipe
from experiments.report import CellResult
from experiments.report_tables import _explained, _recipe

SETTINGS = {
    "method": "TELEPORTATION",
    "reading": "gradients",
    "num_active": 2,
    "num_nodes": 6,
    "rates": [0.1, 0.03, 0.01],
    "rate": 0.03,
}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"rate": 0.01}, "edge of the grid"),
        ({"num_active": 6}, "relabelled at random"),
        ({"reading": "rounds"}, "chosen for equal gradients"),
    ],
)
def test_only_what_occurs_is_explained(changed, words):
    usual = CellResult(SETTINGS, pd.DataFrame())
    unusual = CellResult({**SETTINGS, **changed}, pd.DataFrame())
    assert words not in _explained([usual])
    assert words in _explained([usual, unusual])


def test_the_recipe_is_told():
    settings = {
        **{"dataset": "digits", "model": "mlp", "num_nodes": 6, "epochs": 1},
        **{"num_seeds": 2, "validation": 0.1},
        **dataclasses.asdict(Recipe(augment=False)),
    }
    assert _recipe(settings) == (
        "digits, mlp, n = 6, 1 epoch, batch 32, no augmentation, momentum 0.9, cosine "
        "schedule after 0.02 warm-up, 0.1 of the images for validation, 2 seeds, "
        "computed in float32."
    )
    other = dataclasses.asdict(
        Recipe(
            augment=True,
            local_steps=5,
            sampling="replacement",
            nesterov=True,
            weight_decay=1e-4,
        )
    )
    assert (
        "batch 32, drawn with replacement, crops and reflections, 5 steps between "
        "gossips, Nesterov momentum 0.9, weight decay 0.0001, cosine"
    ) in _recipe({**settings, **other, "dataset": "cifar10"})
