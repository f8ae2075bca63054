"""The tables of the neural study."""

import pandas as pd
import pytest

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


def test_a_single_seed_and_epoch_are_not_plural():
    settings = {
        **{"dataset": "digits", "model": "mlp", "num_nodes": 6, "epochs": 1},
        **{"batch_size": 8, "momentum": 0.9, "augment": False, "num_seeds": 2},
        **{"schedule": "cosine", "compute_dtype": "float32"},
    }
    told = _recipe(settings)
    assert "1 epoch, batch 8" in told
    assert "2 seeds, computed in float32." in told
