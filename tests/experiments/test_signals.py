"""Signals that come while Python cannot raise anything."""

import gc
import signal
import sys
import time

import pytest

from experiments import quickstart
from tests.experiments.commands import refused
from tests.experiments.test_command import call


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_while_garbage_is_collected_is_heard(
    number, code, monkeypatch, tmp_path, capsys
):
    """What it raises in a hook of the collector, as jax has one, Python drops."""
    before, raised = sys.unraisablehook, []

    def hook(phase, _):
        if phase == "start" and len(raised) < 2:
            raised.append(phase)
            signal.raise_signal(number)

    def collecting(*args, **settings):
        gc.callbacks.append(hook)
        gc.collect()
        gc.collect()
        for _ in range(600):
            time.sleep(0.1)
        raise AssertionError("the signal was not heard")

    monkeypatch.setattr(quickstart.tuning, "train", collecting)
    words = ("--run", tmp_path / "run")
    try:
        refused("quickstart", capsys, lambda: call(monkeypatch, *words), code)
    finally:
        gc.callbacks.remove(hook)
    assert len(raised) == 2
    assert sys.unraisablehook is before
