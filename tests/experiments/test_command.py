"""What all studies share: the flags of a run's folder, and how they end."""

import importlib
import json
import signal
import sys

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from experiments import quickstart
from experiments.benchmarks import measure
from experiments.results import Folder, opened
from tele_jax.runs import load_config
from tests.experiments.commands import refused
from tests.experiments.test_quickstart import SMALL

STUDIES = (
    *("quickstart", "neural", "consensus", "synthetic", "interior_k", "many_nodes"),
    *("heterogeneous_network", "benchmark"),
)
WORDS = [word for pair in SMALL.items() for word in pair]


def call(monkeypatch, *words):
    """Call the quickstart, small."""
    monkeypatch.setattr(sys, "argv", ["quickstart", *WORDS, *map(str, words)])
    quickstart.main()


@pytest.mark.parametrize("name", STUDIES)
def test_all_studies_have_the_same_flags(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    study = importlib.import_module(f"experiments.{name}")
    # The devices of this process are there already.
    monkeypatch.setattr(measure, "num_cores", jax.device_count)
    with pytest.raises(SystemExit) as stop:
        study.main()
    assert stop.value.code == 0
    told = capsys.readouterr().out
    for flag in ("results", "run", "resume", "force", "no-progress", "device", "debug"):
        assert f"--{flag} " in told.replace("\n", " ")
    assert ("--seed" in told) == (name != "benchmark")  # which draws nothing


@pytest.mark.parametrize("name", STUDIES[:-1])
@pytest.mark.parametrize("seed", [-1, 2_000_000_001, 10**20])
def test_seeds_that_some_generator_does_not_take_are_refused(
    name, seed, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", [name, "--seed", str(seed)])
    study = importlib.import_module(f"experiments.{name}")
    monkeypatch.setattr(measure, "num_cores", jax.device_count)
    told = refused(name, capsys, study.main)
    assert told == f"{name}: got seed={seed}, expected 0 to 2000000000."


def test_a_killed_study_goes_on_where_it_was(monkeypatch, tmp_path, capsys):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    call(monkeypatch, "--run", whole)
    train, trained = quickstart.tuning.train, []

    def deadly(*args, label, **settings):
        trained.append(label)
        if label == "TELEPORTATION, k=2, 2 seeds":
            raise KeyboardInterrupt
        return train(*args, label=label, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(quickstart.tuning, "train", deadly)
        told = refused("quickstart", capsys, lambda: call(patch, "--run", killed), 130)
    assert (
        f"interrupted; go on with the same flags and --run {killed} --resume." in told
    )
    begun = [*trained]
    with monkeypatch.context() as patch:
        patch.setattr(
            quickstart.tuning,
            "train",
            lambda *args, label, **settings: (
                trained.append(label) or train(*args, label=label, **settings)
            ),
        )
        call(patch, "--run", killed, "--resume")
    # The sweeps are parts that are done; finished runs are read from their folders.
    assert [label for label in trained[len(begun) :] if "step sizes" in label] == [
        label
        for label in trained
        if label.startswith("All-reduce SGD") and "step" in label
    ]
    tables = [pq.read_table(folder / "metrics.parquet") for folder in (whole, killed)]
    assert tables[0].equals(tables[1])
    assert load_config(killed / "config.json", quickstart.Config).num_nodes == 6


def test_sigterm_within_a_run_ends_a_study_in_words(monkeypatch, tmp_path, capsys):
    drive = quickstart.tuning.driver.drive

    def deadly(*args, **settings):
        end = [lambda chunk: signal.raise_signal(signal.SIGTERM)]
        return drive(*args, **settings, callbacks=end)

    monkeypatch.setattr(quickstart.tuning.driver, "drive", deadly)
    words = ("--run", tmp_path / "run", "--force")
    told = refused("quickstart", capsys, lambda: call(monkeypatch, *words), 143)
    assert f"--run {tmp_path / 'run'} --resume, in place of --force" in told


def test_sigterm_ends_a_study_in_words(monkeypatch, tmp_path, capsys):
    def deadly(*args, **settings):
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(quickstart.tuning, "train", deadly)
    words = ("--run", tmp_path / "run")
    told = refused("quickstart", capsys, lambda: call(monkeypatch, *words), 143)
    assert told == "quickstart: interrupted; nothing was written."
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_is_not_begun_in_the_folder_of_another(monkeypatch, tmp_path, capsys):
    folder = tmp_path / "run"
    with opened(folder, quickstart.Config(num_nodes=7)):
        pass
    known = (folder / "config.json").read_text()

    def told(*words):
        return refused(
            "quickstart", capsys, lambda: call(monkeypatch, "--run", folder, *words)
        )

    assert f"{folder} exists; add --resume to go on with it, or --force" in told()
    assert "; num_nodes was 7 and is now 6; " in told("--resume")
    assert (folder / "config.json").read_text() == known
    call(monkeypatch, "--run", folder, "--force")
    assert json.loads((folder / "config.json").read_text())["num_nodes"] == 6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--resume", "need the folder: add --run FOLDER"),
        ("--force", "need the folder: add --run FOLDER"),
        ("--run a --resume --force", "got --resume and --force, expected one of them"),
        ("--override code", "got --override, which is for a run that goes on"),
        ("--run a --results b", "got --results and --run, expected one of them"),
        ("--device tpu", "got device=tpu, expected one of cpu"),
        ("--device gpu", "got device=gpu, expected one of cpu"),
    ],
)
def test_flags_that_cannot_be_are_refused(
    monkeypatch, tmp_path, capsys, words, sentence
):
    monkeypatch.chdir(tmp_path)
    told = refused("quickstart", capsys, lambda: call(monkeypatch, *words.split()))
    assert sentence in told
    assert [*tmp_path.iterdir()] == []


def test_debug_shows_the_traceback(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        call(monkeypatch, "--run", tmp_path / "a", "--debug", "--dataset", "digit")
    assert [*tmp_path.iterdir()] == []


def test_without_progress_only_results_are_shown(monkeypatch, tmp_path, capsys):
    call(monkeypatch, "--run", tmp_path / "a", "--no-progress")
    told = capsys.readouterr()
    assert told.err == ""
    assert "Test accuracy" in told.out


def test_a_part_is_computed_once_and_comes_back_as_it_was(tmp_path):
    calls = []

    def compute():
        calls.append(None)
        return [(np.array([0.1, np.inf, 1 / 3]), {0.1: 2.0})]

    kind = list[tuple[np.ndarray, dict[float, float]]]
    for settings in ({}, {"resume": True}):
        with opened(tmp_path / "run", quickstart.Config(), **settings) as folder:
            ((array, rates),) = folder.part("DSGD, k=2", kind, compute)
            np.testing.assert_array_equal(array, [0.1, np.inf, 1 / 3])
            assert rates == {0.1: 2.0}
    assert len(calls) == 1
    assert [path.name for path in (tmp_path / "run" / "parts").iterdir()] == [
        "dsgd-k-2.json"
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [("", "JSONDecodeError"), ('{"name": "b", "value": 1}', "it is that of 'b'")],
)
def test_a_part_that_is_none_is_refused(tmp_path, content, reason):
    with opened(tmp_path / "run", quickstart.Config()) as folder:
        assert folder.part("a", int, lambda: 1) == 1
        (tmp_path / "run" / "parts" / "a.json").write_text(content)
        with pytest.raises(
            ValueError, match=rf"a\.json is not the part 'a' .*{reason}"
        ):
            folder.part("a", int, lambda: 1)


def test_what_was_there_before_stays(tmp_path):
    with opened(tmp_path / "run", quickstart.Config()) as folder:
        (folder.path / "table.md").write_text("found")
    for settings in ({"resume": True}, {"resume": True}):
        with (
            pytest.raises(KeyboardInterrupt),
            opened(tmp_path / "run", quickstart.Config(), **settings),
        ):
            raise KeyboardInterrupt
    assert (tmp_path / "run" / "table.md").read_text() == "found"


def test_a_part_that_fails_leaves_nothing(tmp_path):
    def fail(folder: Folder):
        folder.part("a", int, lambda: 1 // 0)

    with (
        pytest.raises(ZeroDivisionError),
        opened(tmp_path / "a" / "b", quickstart.Config()) as folder,
    ):
        fail(folder)
    assert [*tmp_path.iterdir()] == []
