"""Many processes on this machine: the numbers of one, and an end when one dies."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import chex
import jax
import numpy as np
import pytest

import tele_jax as tele
from tele_jax import connection, launch, processes
from tests import together

PROGRAM = Path(together.__file__)
SETTINGS = {
    "XLA_FLAGS": "",
    "JAX_COMPILATION_CACHE_DIR": os.environ["TELE_JAX_TEST_PROGRAMS"],
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
}
"""Those of conftest: most of the time would go into compiling."""
pytestmark = pytest.mark.skipif(
    not Path("/proc").exists(), reason="processes are told apart by /proc"
)


def run(*command, **others):
    """A Python process that finds the package and says everything in one stream."""
    return subprocess.Popen(
        [sys.executable, *command],
        env={
            **{**os.environ, **SETTINGS, "PYTHONPATH": str(PROGRAM.parents[1])},
            **others,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start(number, folder, case):
    """The documented command."""
    return run("-m", "tele_jax.launch", str(number), PROGRAM, folder, case)


def finish(launched, seconds=300):
    """Its exit code and what it said."""
    try:
        said, _ = launched.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        for _ in range(2):  # the second signal stops all
            launched.terminate()
            time.sleep(1)
        raise
    return launched.returncode, said


def wait_for(path, launched, seconds=200):
    """Until a file is there."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert launched.poll() is None, launched.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def process_number(index, folder):
    """The number by which the system knows a process of the run in that folder."""
    for entry in Path("/proc").iterdir():
        try:
            told = (entry / "environ").read_bytes().split(b"\0")
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if f"{connection.INDEX}={index}".encode() in told and bytes(folder) in line:
            return int(entry.name)
    raise AssertionError(f"process {index} is not there")


def expected(folder, case, num_devices):
    """The same in this process."""
    with jax.set_mesh(tele.slot_mesh(num_devices)):
        return together.results(folder, case)


# With "late", process 0 has much to do when the other is done.
@pytest.mark.parametrize(("number", "case"), [(2, "late"), (4, "algorithms")])
def test_processes_compute_what_one_does(number, case, tmp_path):
    code, said = finish(start(number, tmp_path, case))
    assert code == 0, said
    found = dict(np.load(tmp_path / "result.npz"))
    assert found.pop("processes") == number
    chex.assert_trees_all_close(
        found, expected(tmp_path, case, number), rtol=1e-5, atol=1e-6
    )


def test_the_script_of_the_page_runs(tmp_path, monkeypatch):
    page = (PROGRAM.parents[1] / "docs/many_processes.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "script.py").write_text(script)
    monkeypatch.chdir(tmp_path)
    code, said = finish(run("-m", "tele_jax.launch", "2", "script.py"))
    assert code == 0, said
    curves = tmp_path / "results" / "on_2" / "metrics"
    assert len(list(curves.iterdir())) == 11


@pytest.mark.parametrize("dead", [0, 1])
def test_a_dead_process_ends_the_run_which_then_goes_on(dead, tmp_path):
    launched = start(2, tmp_path, "slow")
    wait_for(tmp_path / "run" / "checkpoints" / "20", launched)
    os.kill(process_number(dead, tmp_path), signal.SIGKILL)
    killed = time.monotonic()
    code, said = finish(launched, seconds=30)
    assert time.monotonic() - killed < 30
    assert code == 128 + signal.SIGKILL
    assert said.splitlines()[-1] == (
        f"launch: process {dead} of 2 ended by signal SIGKILL, so all were stopped; a "
        "run with a directory goes on from its newest checkpoint when it is started "
        "again."
    )
    assert "Traceback" not in said
    assert "connect: " not in said
    checkpoints = tmp_path / "run" / "checkpoints"
    whole = [entry.name for entry in checkpoints.iterdir() if entry.name.isdecimal()]
    newest = max(map(int, whole))
    if dead == 1:  # and what it wrote last is damaged: one that reads it ends them all
        parts = (checkpoints / str(newest) / "state").glob("ocdbt.process_1/d/*")
        for path in parts:
            path.write_bytes(b"damaged")
        code, said = finish(start(2, tmp_path, "driven"))
        assert code != 0
        assert f" cannot read checkpoint {checkpoints / str(newest)}; " in said
        (checkpoints / str(newest)).rename(tmp_path / "away")
    code, said = finish(start(2, tmp_path, "driven"))
    assert code == 0, said
    found = dict(np.load(tmp_path / "result.npz"))
    del found["processes"]
    never_stopped = expected(tmp_path / "whole", "driven", 2)
    chex.assert_trees_all_close(found, never_stopped, rtol=1e-5, atol=1e-6)
    # It went on: the log of the second start does not begin at the first round.
    begun = [
        int(line.split()[-1])
        for line in (tmp_path / "run" / "log.txt").read_text().splitlines()
        if "begins at round" in line
    ]
    assert begun == [0, newest if dead == 0 else newest - together.CHUNK]


@pytest.mark.parametrize("dead", [0, 1])
def test_without_the_launcher_too_a_process_does_not_wait_for_a_dead_one(
    dead, tmp_path
):
    """As on a cluster, whose manager starts the processes."""
    address = f"127.0.0.1:{launch._free_port()}"
    shared = {connection.ADDRESS: address, connection.NUMBER: "2"}
    started = [
        run(PROGRAM, tmp_path, "slow", **shared, **{connection.INDEX: str(index)})
        for index in range(2)
    ]
    wait_for(tmp_path / "run" / "checkpoints" / "10", started[0])
    started[dead].kill()
    left = started[1 - dead]
    said, _ = left.communicate(timeout=30)
    started[dead].communicate()
    if dead == 1:
        assert left.returncode == connection.LOST, said
        assert said.splitlines()[-1].startswith("connect: lost another process (")
    else:  # jax itself aborts a process whose coordinator is gone
        assert left.returncode in (connection.LOST, -signal.SIGABRT)


def test_sigterm_stops_all_with_a_checkpoint(tmp_path):
    launched = start(2, tmp_path, "slow")
    wait_for(tmp_path / "run" / "checkpoints" / "10", launched)
    launched.terminate()
    code, said = finish(launched, seconds=60)
    assert code == 128 + signal.SIGTERM
    assert "interrupted after" in said
    assert said.splitlines()[-1].startswith("launch: got SIGTERM, and stopped all 2")


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("configs", "RunDirectory: process 1 has said 1, and process 0 0"),
        ("rates", "process 1 has algorithm.learning_rate 1.1, and process 0 0.1;"),
        ("keys", "simulate: process 1 has key '"),
        ("starts", "simulate: process 1 has params '"),
        ("graphs", "simulate: process 1 has algorithm.topology.senders None"),
        ("rounds", "simulate: process 1 has num_rounds 40, and process 0 20"),
        ("versions", "connect: process 1 has jax None, and process 0 '"),
        ("bare", "simulate: got no mesh, but there are 2 processes"),
    ],
)
def test_what_is_no_run_of_all_processes_is_refused(case, words, tmp_path):
    code, said = finish(start(2, tmp_path, case))
    assert code == 1
    assert words in said
    assert not (tmp_path / "run").exists()


def test_a_mesh_without_devices_of_a_process_is_refused(monkeypatch):
    devices = [SimpleNamespace(process_index=index) for index in (0, 0, 1, 2)]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    with pytest.raises(ValueError, match="num_devices=3, of which process 2 has none"):
        tele.slot_mesh(3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("localhost:1", 2), "process_id=None, expected all three or none"),
        (("localhost", 2, 1), 'expected "host:port"'),
        ((":80", 2, 1), 'expected "host:port"'),
        (("localhost:1", 2, 2), "got process_id=2, expected 0 to 1"),
        (("localhost:1", 2, 1), "nobody answers at localhost:1 for 0.1 s"),
    ],
)
def test_connect_refuses(settings, words):
    with pytest.raises(ValueError, match=f"connect: .*{words}"):
        tele.connect(*settings, timeout=0.1)


def test_facts_that_differ_are_named(monkeypatch):
    monkeypatch.setattr(
        processes, "_told_by_all", lambda words: [words, '{"jax": "0.9"}', words]
    )
    words = "connect: process 1 has jax '0.9', and process 0 '0.10'; start all"
    with pytest.raises(ValueError, match=words):
        processes.check_alike("connect", {"jax": "0.10"})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["0", "x.py"], "at least 1"),
        (["2"], "no script"),
        (["two"], "invalid int"),
        (["2", "nosuch.py"], "got script nosuch.py, which does not exist"),
    ],
)
def test_launch_refuses(arguments, words, capsys):
    with pytest.raises(SystemExit):
        launch.main(arguments)
    assert words in capsys.readouterr().err
