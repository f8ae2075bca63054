"""The quickstart, small: what it writes adds up, and what it cannot do it says."""

import json
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from experiments import quickstart
from tests.experiments.commands import refused

SMALL = {
    "--num-nodes": "6",
    "--num-active": "2",
    "--model": "softmax",
    "--num-rounds": "8",
    "--num-evals": "4",
    "--num-seeds": "2",
    "--num-sweep-seeds": "1",
    "--alpha": "1.0",
}


def run(monkeypatch, folder, **flags):
    """Call the command with some flags of SMALL replaced."""
    given = {**SMALL, **{f"--{k.replace('_', '-')}": v for k, v in flags.items()}}
    words = [word for pair in given.items() for word in pair]
    monkeypatch.setattr(
        sys, "argv", ["quickstart", *words, "--results", str(folder / "results")]
    )
    quickstart.main()


def test_writes_a_folder_whose_numbers_agree(monkeypatch, tmp_path, capsys):
    run(monkeypatch, tmp_path)
    (folder,) = (tmp_path / "results").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "environment.json", "log.txt", "lock", "parts", "runs"),
        "summary.json",
        *("metrics.parquet", "sweep.parquet", "accuracy.png", "labels.png"),
    }
    assert json.loads((folder / "config.json").read_text())["num_nodes"] == 6
    rows = pq.read_table(folder / "metrics.parquet").to_pylist()
    assert len(rows) == 3 * 2 * 5  # methods, seeds, evaluations
    last = {row["method"]: row for row in rows if row["round"] == 8}
    # Gradients: a node or token each round. Messages: ring of 6, all of 6; merged
    # TELEPORTATION pulls at most 2 models for each of 2 tokens in all but one round.
    assert last["DSGD, ring"]["gradients"] == 8 * 6
    assert last["DSGD, ring"]["messages"] == 8 * 6 * 2
    assert last["All-reduce SGD"]["messages"] == 8 * 6 * 5
    assert last["TELEPORTATION, k=2"]["gradients"] == 8 * 2
    assert 0 < last["TELEPORTATION, k=2"]["messages"] <= 7 * 2 * 2
    model_bytes = 4 * (64 * 10 + 10)
    assert last["DSGD, ring"]["bytes"] == 8 * 6 * 2 * model_bytes
    printed = capsys.readouterr().out
    for method in json.loads((folder / "summary.json").read_text()):
        tried = {float(rate): score for rate, score in method["rates_tried"].items()}
        assert max(tried, key=tried.get) == pytest.approx(method["learning_rate"])
        # The best rate is not on the edge of the grid.
        assert min(tried) < method["learning_rate"] < max(tried)
        accuracy = 100 * np.mean(method["accuracy"])
        assert f"{method['method']}" in printed
        assert f"{accuracy:.1f} ±" in printed


def test_the_step_size_is_chosen_on_images_that_are_not_tested():
    tuning, final = quickstart.make_tasks(quickstart.Config(num_nodes=6, alpha=1.0))
    np.testing.assert_array_equal(tuning.inputs, final.inputs)
    np.testing.assert_array_equal(tuning.index, final.index)
    parts = [
        {image.tobytes() for image in np.asarray(images)}
        for images in (final.inputs, tuning.test_inputs, final.test_inputs)
    ]
    assert [len(part) for part in parts] == [1150, 287, 360]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"dataset": "digit"}, "did you mean 'digits'"),
        ({"model": "lenett"}, "did you mean 'lenet'"),
        ({"alpha": "0"}, "got alpha=0.0, expected 0 < alpha"),
        ({"num_nodes": "5000"}, "5000 nodes"),
        ({"num_active": "7"}, "got num_active=7, expected 1 <= num_active"),
        ({"num_active": "0"}, "got num_active=0, expected 1 <= num_active"),
        ({"batch_size": "0"}, "got batch_size=0, expected >= 1"),
        ({"num_evals": "3"}, "num_evals=3 must divide num_rounds=8"),
        ({"num_seeds": "0"}, "got num_seeds=0, expected at least 1"),
        ({"model": "lenet"}, "LeNet"),
    ],
)
def test_what_cannot_run_is_said_and_leaves_nothing(
    monkeypatch, tmp_path, capsys, flags, sentence
):
    def call():
        run(monkeypatch, tmp_path, **flags)

    assert sentence in refused("quickstart", capsys, call)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_flag_is_answered_with_the_closest(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, tmp_path, num_node="8")
    assert stop.value.code == 2
    assert "--num-nodes" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_stops_before_the_work(
    monkeypatch, tmp_path, capsys
):
    (tmp_path / "results").write_text("a file where the folder should be")
    monkeypatch.setattr(quickstart, "run_method", None)  # no work is reached
    told = refused("quickstart", capsys, lambda: run(monkeypatch, tmp_path))
    assert "cannot write to" in told
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_study_interrupted_at_once_leaves_nothing(monkeypatch, tmp_path, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(quickstart, "run_method", interrupted)
    told = refused("quickstart", capsys, lambda: run(monkeypatch, tmp_path), code=130)
    assert "interrupted; nothing was written" in told
    assert list(tmp_path.iterdir()) == []
