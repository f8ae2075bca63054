"""The neural study, small: counts, stored cells, reports and refusals."""

import shutil
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from experiments import neural, neural_runs, report
from tests.experiments.commands import refused

SMALL = {
    "--dataset": "digits",
    "--model": "softmax",
    "--num-nodes": "6",
    "--num-active": "2",
    "--alphas": "1",
    "--epochs": "2",
    "--num-seeds": "2",
    "--rates": "0.05",
    "--batch-size": "8",
}


def run(monkeypatch, folder, *switches, **flags):
    """Call the command with some flags of SMALL replaced."""
    given = {**SMALL, **{f"--{k.replace('_', '-')}": v for k, v in flags.items()}}
    words = [word for pair in given.items() for word in pair]
    words += ["--run", str(folder), "--no-progress", *switches]
    monkeypatch.setattr(sys, "argv", ["neural", *words])
    neural.main()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study that was run once, without ablations."""
    path = tmp_path_factory.mktemp("neural") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        run(monkeypatch, path)
    return path


def test_the_counts_of_every_cell_add_up(folder):
    cells = {cell.label: cell for cell in report.read(folder)}
    # 1,437 digits, a tenth held out, six nodes: 215 each, 26 full batches of 8.
    steps = 26
    expected = {
        "All-reduce SGD": (steps, 6, 6 * 5),
        "DSGD, ring": (steps, 6, 6 * 2),
        "TELEPORTATION, ring, k=2": (3 * steps, 2, None),
        "TELEPORTATION, ring, k=2, equal rounds": (steps, 2, None),
    }
    assert set(cells) == set(expected)
    for label, (rounds, slots, messages) in expected.items():
        rows = cells[label].rows
        assert len(rows) == 2 * 3  # seeds, evaluations
        assert (rows["round"] == rounds * rows["epoch"]).all()
        assert (rows["gradients"] == rounds * slots * rows["epoch"]).all()
        if messages is not None:
            assert (rows["messages"] == messages * rows["round"]).all()
        assert (rows["bytes"] == rows["messages"] * 4 * (64 * 10 + 10)).all()
        assert rows["accuracy"].between(0, 1).all()
        assert rows["final_slot_accuracy_mean"].notna().sum() == 2
        assert (rows["round"][rows["final_slot_accuracy_sd"].notna()] > rounds).all()
    # All slots of all-reduce are the mean model.
    last = cells["All-reduce SGD"].last
    np.testing.assert_allclose(
        last["final_slot_accuracy_mean"], last["accuracy"], rtol=1e-6
    )
    np.testing.assert_allclose(last["final_slot_accuracy_sd"], 0.0, atol=1e-6)


def test_what_is_done_is_not_done_again(folder, monkeypatch, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    before = {path: path.stat().st_mtime_ns for path in (again / "cells").iterdir()}
    removed = next(path for path in before if path.name.startswith("dsgd"))
    removed.unlink()
    run(monkeypatch, again, "--resume")
    after = {path: path.stat().st_mtime_ns for path in (again / "cells").iterdir()}
    assert set(after) == set(before)
    assert {path for path in after if after[path] != before[path]} == {removed}
    # The run is a function of its seeds: the cell is the same to the last bit.
    original = folder / "cells" / removed.name
    assert pq.read_table(removed).equals(pq.read_table(original))
    assert not any((again / "runs").iterdir())  # no checkpoints of what is done


def test_a_study_goes_on_with_less_memory(folder, monkeypatch, tmp_path, capsys):
    """Slots at a time change no number, so what is done is done."""
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    before = {path: path.stat().st_mtime_ns for path in (again / "cells").iterdir()}
    fewer = {"slots_at_once": "1"}
    line = refused(
        "neural", capsys, lambda: run(monkeypatch, again, "--resume", **fewer)
    )
    assert "(override recipe.slots_at_once)" in line
    words = ("--resume", "--override", "recipe.slots_at_once")
    run(monkeypatch, again, *words, **fewer)
    after = {path: path.stat().st_mtime_ns for path in (again / "cells").iterdir()}
    assert after == before


def test_cells_of_another_recipe_are_not_mixed(folder, monkeypatch, tmp_path, capsys):
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    before = set(again.rglob("*.parquet"))
    words = ("--resume", "--override", "recipe", "rates")
    other = {"momentum": "0.5", "rates": "0.01"}
    line = refused("neural", capsys, lambda: run(monkeypatch, again, *words, **other))
    assert "is of another study (momentum was 0.9 and is now 0.5; rates was" in line
    assert set(again.rglob("*.parquet")) == before


def test_the_report_needs_the_cells_only(folder, monkeypatch, tmp_path, capsys):
    shutil.copytree(folder / "cells", tmp_path / "cells")
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path)])
    report.main()
    table = (tmp_path / "table.md").read_text()
    assert table == (folder / "table.md").read_text()
    assert table.strip() in capsys.readouterr().out
    for name in ("epochs", "rounds", "gradients", "messages"):
        assert (tmp_path / f"accuracy_{name}.png").stat().st_size > 10_000
    assert (tmp_path / "final.png").stat().st_size > 10_000


def test_a_folder_without_cells_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        report.main()
    assert left.value.code == 2
    assert "expected the folder of a neural study" in capsys.readouterr().err
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="is not a cell of a study"):
        report.read(tmp_path)


def test_step_sizes_and_k_are_chosen_where_they_are_not_given(monkeypatch, tmp_path):
    run(
        monkeypatch,
        tmp_path / "run",
        num_active="0",
        num_seeds="1",
        tuning_epochs="1",
        epochs="1",
        rates="1e-6",
    )
    for cell in report.read(tmp_path / "run"):
        chosen = cell.settings["method"] == "TELEPORTATION"
        assert ("by Algorithm 2" in cell.label) == chosen
        assert cell.settings["num_active"] in ((1, 2, 4) if chosen else (6,))


def test_the_better_step_size_is_taken_and_a_diverged_one_is_not(monkeypatch, tmp_path):
    flags = {"num_seeds": "1", "epochs": "1", "local_steps": "2", "graphs": "ring"}
    rates = ["--rates", "1e-6", "0.05", "3e38"]
    run(monkeypatch, tmp_path / "run", *rates, **flags)
    cells = report.read(tmp_path / "run")
    assert {cell.settings["rate"] for cell in cells} == {0.05}
    by_label = {cell.label: cell.last.iloc[0] for cell in cells}
    # 26 batches are 13 rounds of two steps by each of six nodes.
    assert by_label["DSGD, ring"]["round"] == 13
    assert by_label["DSGD, ring"]["gradients"] == 26 * 6
    assert by_label["TELEPORTATION, ring, k=2"]["gradients"] == 3 * 26 * 2
    assert not any((tmp_path / "run" / "runs").iterdir())


def test_a_killed_study_goes_on_between_seeds(folder, monkeypatch, tmp_path):
    """Stopped before the second seed; the first is read, also with less memory."""
    trained = []
    train = neural_runs.train

    def stopped(method, task, rate, group, *rest):
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(group.label)
        return train(method, task, rate, group, *rest)

    one = {"seeds_per_program": "1"}
    monkeypatch.setattr(neural_runs, "train", stopped)
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path / "run", **one)
    kept = list((tmp_path / "run" / "runs").iterdir())
    assert len(kept) == 1
    assert trained == ["All-reduce SGD, α=1, seed 1 of 2"]
    checkpoints = kept[0] / "checkpoints"
    before = sorted(path.name for path in checkpoints.iterdir())
    monkeypatch.setattr(neural_runs, "train", train)
    monkeypatch.setattr(report, "write", lambda path: "")
    words = ("--resume", "--override", "recipe.examples_at_once")
    run(monkeypatch, tmp_path / "run", *words, **one, examples_at_once="4")
    assert before  # of the first seed; its run was read, and is gone with the others
    assert not any((tmp_path / "run" / "runs").iterdir())
    found, together = (
        {cell.label: cell.rows for cell in report.read(path)}
        for path in (tmp_path / "run", folder)
    )
    for label, rows in together.items():
        for column in ("accuracy", "train_loss", "messages", "gradients"):
            np.testing.assert_allclose(found[label][column], rows[column], rtol=1e-4)


def test_two_cells_of_a_name_are_refused(folder, tmp_path):
    shutil.copytree(folder / "cells", tmp_path / "cells")
    one = next((tmp_path / "cells").glob("dsgd*"))
    shutil.copy(one, tmp_path / "cells" / "dsgd-other.parquet")
    with pytest.raises(ValueError, match="2 cells 'DSGD, ring' with α=1, of different"):
        report.read(tmp_path)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"graphs": "rings"}, "complete; did you mean 'ring'?"),
        ({"graphs": "Base2"}, "did you mean 'Base-2'?"),
        ({"model": "lennet"}, "did you mean 'lenet'"),
        ({"num_active": "7"}, "num_active=7, expected at most num_nodes=6"),
        ({"alphas": "0"}, "got alphas=(0.0,), expected positive"),
        ({"rates": "nan"}, "got rates="),
        ({"validation": "1"}, "expected a share between 0 and 1"),
        ({"momentum": "1"}, "got momentum=1.0, expected 0 <= momentum < 1"),
        ({"batch_size": "0"}, "got batch_size=0"),
        ({"examples_at_once": "3"}, "examples_at_once=3, expected a divisor of batch"),
        ({"num_active": "0", "local_steps": "2"}, "which Algorithm 2 does not know"),
        ({"validation": "0.97"}, "a node has 7 training images, a round takes 8"),
        ({"model": "vgg11"}, "VGG11: got inputs of shape (1, 8, 8, 1)"),
    ],
)
def test_what_cannot_run_is_refused_before_any_work(
    monkeypatch, tmp_path, capsys, flags, words
):
    line = refused(
        "neural", capsys, lambda: run(monkeypatch, tmp_path / "run", **flags)
    )
    assert words in line
    assert not (tmp_path / "run").exists()
