"""What the tests of this folder share."""

import gc
import sys

import pytest


@pytest.fixture
def damages(monkeypatch):
    """For tests that damage files: Orbax leaves coroutines whose reads have failed."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    yield
    gc.collect()
