"""What the tests of this folder share."""

import gc
import sys
import time
import types

import pytest

_SECONDS = 20
"""A read of a test's file is over long before."""


def _coroutines_of_orbax():
    gc.collect()
    return [
        found
        for found in gc.get_objects()
        if type(found) is types.CoroutineType and "orbax" in found.cr_code.co_filename
    ]


@pytest.fixture
def damages(monkeypatch):
    """For tests that damage files: Orbax leaves coroutines whose reads have failed.

    One whose read is still under way is let go by the thread that reads, at some later
    time: the next test would be told of it.
    """
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    yield
    deadline = time.monotonic() + _SECONDS
    while left := _coroutines_of_orbax():
        assert time.monotonic() < deadline, left
        del left
        time.sleep(0.05)
