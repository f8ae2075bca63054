"""The scan for a best k inside 1..n, small, and its judgement on made-up curves."""

import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from experiments import interior_k
from experiments.interior_k_report import Curve


def run(monkeypatch, folder, *words):
    """Call the command."""
    monkeypatch.setattr(
        sys, "argv", ["interior_k", *words, "--results", str(folder / "results")]
    )
    interior_k.main()


@pytest.mark.parametrize(
    ("excess", "error", "best", "inside"),
    [
        ([3, 2, 1], 0.1, 4, False),
        ([3, 1, 2], 0.1, 2, True),
        ([3, 1, 1.2], 0.1, 2, False),  # not by more than two standard errors
        ([1, 2, 3], 0.1, 1, False),
        ([1.2, 1, 3], 0.1, 2, False),
        ([np.nan, 2, 3], 0.1, 2, True),  # what diverged is worse
        ([3, 1, np.nan], 0.1, 2, True),
    ],
)
def test_a_best_k_inside_is_told_from_noise(excess, error, best, inside):
    curve = Curve(
        *("ring", 1.0, 1, 10, (1, 2, 4)),
        *(np.array(excess), np.full(3, error) + 0 * np.array(excess), None, 1),
    )
    assert curve.best_k == best
    assert curve.is_interior == inside


def test_writes_a_folder_whose_numbers_agree(monkeypatch, tmp_path, capsys):
    one = {"ring": interior_k.TOPOLOGIES["ring"]}
    monkeypatch.setattr(interior_k, "TOPOLOGIES", one)
    words = "--num-nodes 8 --heterogeneity 3 --batch-size 2 --rounds 5 10 --dim 2 "
    run(monkeypatch, tmp_path, *words.split(), "--num-seeds", "2", "--rates", "1", "2")
    (folder,) = (tmp_path / "results").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "environment.json"),
        *("table.md", "curves.parquet", "interior_k.png"),
    }
    rows = pq.read_table(folder / "curves.parquet").to_pylist()
    assert [row["num_rounds"] for row in rows] == [5, 10]
    assert rows[0]["ks"] == [1, 2, 4, 8]
    for row in rows:
        assert min(row["excess"]) > 0  # f* is below all of them
        assert set(row["rate"]) <= {1.0, 2.0}
    assert (folder / "table.md").read_text() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--num-nodes 1", "got num_nodes=1 and num_seeds=6, expected at least 2"),
        ("--rounds 25 60", "expected increasing multiples of the first"),
        ("--rounds 0", "expected increasing multiples of the first"),
        ("--rates 0", "got a number that is not positive"),
    ],
)
def test_bad_flags_are_refused_and_leave_nothing(
    monkeypatch, tmp_path, words, sentence
):
    with pytest.raises(SystemExit, match=f"^interior_k: .*{sentence}"):
        run(monkeypatch, tmp_path, *words.split())
    assert list(tmp_path.iterdir()) == []
