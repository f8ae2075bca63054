"""The figures of the neural study."""

import matplotlib.pyplot as plt
import pandas as pd

from experiments.report import CellResult
from experiments.report_figures import _curves


def _cell(alpha, num_active):
    """A method whose k was chosen on this split."""
    settings = {"alpha": alpha, "reading": "gradients", "ablation": False}
    settings |= {"model": "mlp", "dataset": "digits", "num_nodes": 6}
    settings["label"] = f"TELEPORTATION, ring, k={num_active} by Algorithm 2"
    rows = {"epoch": [0, 1, 2], "round": [0, 5, 10], "accuracy": [0.1, 0.5, 0.6]}
    return CellResult(settings, pd.DataFrame({**rows, "seed": 0}))


def test_the_legend_has_the_methods_of_all_panels():
    figure = _curves([_cell(0.1, 2), _cell(10.0, 2), _cell(1.0, 4)], "epoch", "epochs")
    (legend,) = figure.legends
    told = [text.get_text() for text in legend.get_texts()]
    assert told == [f"TELEPORTATION, ring, k={k} by Algorithm 2" for k in (2, 4)]
    plt.close(figure)
