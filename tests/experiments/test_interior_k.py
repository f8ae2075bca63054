"""The scan for a best k inside 1..n, small, and its judgement on made-up curves."""

import re
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from experiments import interior_k
from experiments.interior_k_report import Curve
from tests import helpers
from tests.experiments.commands import refused


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
        *("config.json", "environment.json", "log.txt", "lock", "parts"),
        *("table.md", "curves.parquet", "interior_k.png"),
    }
    rows = pq.read_table(folder / "curves.parquet").to_pylist()
    assert [row["num_rounds"] for row in rows] == [5, 10]
    assert rows[0]["ks"] == [1, 2, 4, 8]
    for row in rows:
        assert min(row["excess"]) > 0  # f* is below all of them
        assert set(row["rate"]) <= {1.0, 2.0}
    assert (folder / "table.md").read_text() in capsys.readouterr().out


def test_a_curve_has_the_least_excess_of_all_step_sizes(monkeypatch):
    config = interior_k.Config(
        num_nodes=4, rounds=(5, 10), rates=(0.5, 1.0, 2.0), num_seeds=2, dim=2
    )
    task = helpers.logistic(4, dim=2, samples_per_node=8, l2=config.l2, batch_size=2)
    bottom = interior_k.least(task)
    excess = np.random.default_rng(0).uniform(size=(2, 3, 3, 3))
    monkeypatch.setattr(interior_k, "losses", lambda *_: bottom + excess)
    for place, curve in enumerate(interior_k.curves(config, "ring", 3.0, 2), 1):
        means = excess[..., place].mean(axis=0)  # [rate, k], after 5 and 10 rounds
        assert curve.num_rounds == 5 * place
        np.testing.assert_allclose(curve.excess, means.min(axis=0))
        rates = np.array(config.rates)[means.argmin(axis=0)]
        np.testing.assert_array_equal(curve.rate, rates)


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
    monkeypatch, tmp_path, capsys, words, sentence
):
    def call():
        run(monkeypatch, tmp_path, *words.split())

    assert re.search(sentence, refused("interior_k", capsys, call))
    assert list(tmp_path.iterdir()) == []
