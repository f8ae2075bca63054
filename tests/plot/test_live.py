"""The figure that grows holds the numbers of the run so far."""

import IPython.display
import numpy as np
import pytest
from matplotlib.figure import Figure

from tele_jax import plot
from tele_jax.driver import drive
from tests.test_driver import _chunk


class Display:
    """A notebook that remembers what it shows."""

    def __init__(self, figure, *, display_id):
        assert display_id
        self.figures = [figure]

    def update(self, figure):
        self.figures.append([*figure.axes[0].lines[0].get_xydata()])


def test_the_curve_grows_with_the_run(monkeypatch):
    shown = []

    def display(figure, *, display_id):
        shown.append(Display(figure, display_id=display_id))
        return shown[0]

    monkeypatch.setattr(IPython.display, "display", display)
    settings = {"num_rounds": 12, "rounds_per_chunk": 3}
    run = drive(_chunk, **settings, callbacks=[plot.live("loss")])
    first, *updates = shown[0].figures
    assert isinstance(first, Figure)
    assert [len(points) for points in updates] == [1, 2, 3, 4]
    np.testing.assert_array_equal(np.array(updates[-1])[:, 0], [3, 6, 9, 12])
    np.testing.assert_allclose(np.array(updates[-1])[:, 1], run.metrics["loss"][1:])
    assert first.axes[0].get_ylabel() == "loss"
    with pytest.raises(
        ValueError, match=r"^live: got metric='los', expected one of .*"
    ):
        drive(_chunk, **settings, callbacks=[plot.live("los")])
