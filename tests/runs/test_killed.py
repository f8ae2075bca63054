"""A run that is killed, at any moment, comes out bit by bit as if it had not been.

Processes are killed with SIGKILL, which nothing can catch: at random moments, and, as
hooks inside of the writes see to, in the middle of a write of curves and of a
checkpoint.
"""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.runs.cases import ALGORITHMS
from tests.runs.victim import PER_CHUNK

ROOT = Path(__file__).parents[2]
NUM_ROUNDS = 240


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Processes share what they compile."""
    return tmp_path_factory.mktemp("compiled")


def _victim(name, folder, num_rounds, death, cache):
    """Start a run in a process of its own, and wait for its end."""
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
    }
    words = [sys.executable, "-m", "tests.runs.victim", name, folder, num_rounds, death]
    return subprocess.run(
        list(map(str, words)),
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )


def _killed(*args):
    ended = _victim(*args)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def _whole(name, folder, num_rounds, cache):
    ended = _victim(name, folder, num_rounds, "never", cache)
    assert ended.returncode == 0, ended.stderr
    with np.load(folder / "whole.npz") as stored:
        return [stored[key] for key in stored.files]


def _assert_the_same(name, folder, num_rounds, cache):
    """The run in the folder goes on to be the one that was never interrupted."""
    other = folder / "uninterrupted"
    other.mkdir()
    expected = _whole(name, other, num_rounds, cache)
    found = _whole(name, folder, num_rounds, cache)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.tobytes() == theirs.tobytes()
    tables = [pq.read_table(place / "run" / "metrics") for place in (folder, other)]
    mine, theirs = (table.sort_by("round") for table in tables)
    assert mine.equals(theirs)
    assert mine["round"].to_pylist() == [*range(num_rounds + 1)]


def _rounds_done(folder):
    """Rounds of the newest checkpoint."""
    names = [path.name for path in (folder / "run" / "checkpoints").iterdir()]
    return max((int(name) for name in names if name.isdecimal()), default=0)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_run_killed_three_times_is_the_run(name, tmp_path, cache):
    go = functools.partial(_killed, name, tmp_path, NUM_ROUNDS)
    go("curves:3", cache)
    assert [*(tmp_path / "run" / "metrics").glob(".rounds-*")]  # it was in the middle
    go("checkpoint:2", cache)
    assert [*(tmp_path / "run" / "checkpoints").glob("*tmp*")]
    seconds = np.random.default_rng(len(name)).uniform(0.02, 0.5)
    go(f"seconds:{seconds}", cache)
    assert 0 < _rounds_done(tmp_path) < NUM_ROUNDS
    _assert_the_same(name, tmp_path, NUM_ROUNDS, cache)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_run_killed_fifty_times_is_the_run(name, tmp_path, cache):
    num_rounds, rng = 6000, np.random.default_rng(len(name))
    for _ in range(50):
        kind = rng.choice(["seconds", "curves", "checkpoint"], p=[0.6, 0.2, 0.2])
        when = rng.uniform(0, 0.6) if kind == "seconds" else rng.integers(1, 5)
        _killed(name, tmp_path, num_rounds, f"{kind}:{when}", cache)
    assert 0 < _rounds_done(tmp_path) < num_rounds
    _assert_the_same(name, tmp_path, num_rounds, cache)


def test_sigterm_loses_the_chunk_that_runs_and_ends_the_process(tmp_path, cache):
    ended = _victim("teleportation", tmp_path, NUM_ROUNDS, "sigterm:3", cache)
    assert ended.returncode == -signal.SIGTERM
    assert "interrupted after" in ended.stderr
    assert _rounds_done(tmp_path) in (2 * PER_CHUNK, 3 * PER_CHUNK)
    assert not (tmp_path / "whole.npz").exists()
    _assert_the_same("teleportation", tmp_path, NUM_ROUNDS, cache)


@pytest.mark.parametrize(
    ("name", "largest"), [("teleportation", 1500), ("large", 10_000)]
)
def test_a_full_disk_is_told_and_gone_on_from(name, largest, tmp_path, cache):
    # 1,500 bytes are too few for the curves of a chunk, 10,000 for a checkpoint.
    ended = _victim(name, tmp_path, PER_CHUNK, "never", cache)
    assert ended.returncode == 0, ended.stderr
    ended = _victim(name, tmp_path, NUM_ROUNDS, f"full:{largest}", cache)
    assert ended.returncode == 1
    *_, last = ended.stderr.strip().splitlines()
    assert last.startswith("OSError: RunDirectory: cannot write to "), ended.stderr
    assert "File too large" in last
    assert "go on from the last checkpoint" in last
    _assert_the_same(name, tmp_path, NUM_ROUNDS, cache)


def test_two_processes_give_the_same_bits(tmp_path, cache):
    del cache
    runs = []
    for place in ("one", "two"):
        folder = tmp_path / place
        folder.mkdir()
        # Each with a cache of its own: everything is compiled twice.
        runs.append(_whole("dsgd", folder, NUM_ROUNDS, folder / "compiled"))
    for one, two in zip(*runs, strict=True):
        assert one.tobytes() == two.tobytes()
