"""What the tests of this folder share."""

import gc
import inspect
import sys
import time

import pytest


def _coroutines_of_orbax():
    gc.collect()
    return [
        found
        for found in gc.get_objects()
        if inspect.iscoroutine(found) and "orbax" in found.cr_code.co_filename
    ]


@pytest.fixture
def damages(monkeypatch):
    """For tests that damage files: Orbax leaves coroutines whose reads have failed.

    One whose read is still under way is let go by the thread that reads, at some later
    time: the next test would be told of it.
    """
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    yield
    deadline = time.monotonic() + 10
    while _coroutines_of_orbax() and time.monotonic() < deadline:
        time.sleep(0.05)
