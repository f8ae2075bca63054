"""The consensus study, small: files agree, and its check of exactness can fail."""

import json
import re
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

import tele_jax as tele
from experiments import consensus
from experiments.consensus_graphs import (
    PERIODIC,
    RANDOM,
    STATIC,
    Catalogue,
    Entry,
    catalogue,
)
from tele_jax import analysis, graphs
from tests.experiments.commands import refused


def run(monkeypatch, folder, *words):
    """Call the command."""
    monkeypatch.setattr(
        sys, "argv", ["consensus", *words, "--results", str(folder / "results")]
    )
    consensus.main()


def only(monkeypatch, **entries):
    """Let there be no other topologies."""
    found = Catalogue(entries, ["no others"])
    monkeypatch.setattr(consensus, "catalogue", lambda size, seed: found)


SOME = ("ring", "star", "1-peer exponential", "Base-3", "random matching")


def test_writes_a_folder_whose_numbers_agree(monkeypatch, tmp_path, capsys):
    expected = {name: catalogue(8, 0).entries[name] for name in SOME}
    only(monkeypatch, **expected)
    run(monkeypatch, tmp_path, "--sizes", "8", "--num-rounds", "6")
    (folder,) = (tmp_path / "results").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "environment.json", "log.txt", "lock", "k8"),
    }
    assert json.loads((folder / "config.json").read_text())["sizes"] == [8]
    written = {path.name for path in (folder / "k8").iterdir()}
    figures = {"consensus.png", "gallery.png"}
    assert written == figures | {"consensus.parquet", "table.parquet", "table.md"}
    text = (folder / "k8" / "table.md").read_text()
    assert text in capsys.readouterr().out
    assert "\n- no others\n" in text
    table = pq.read_table(folder / "k8" / "table.parquet").to_pylist()
    assert [row["name"] for row in table] == list(expected)
    by_round = {}
    for row in pq.read_table(folder / "k8" / "consensus.parquet").to_pylist():
        by_round.setdefault(row["name"], []).append(row)
    for row in table:
        curve = by_round[row["name"]]
        assert [point["round"] for point in curve] == list(range(7))
        errors = [point["error"] for point in curve]
        assert f"| {row['name']} | 8 |" in text
        if row["exact_after"] is None:
            assert min(errors) > 1e-5
            continue
        exact = row["exact_after"]
        assert errors[exact] == row["error_when_exact"] < 1e-5
        assert errors[exact - 1] == row["error_one_round_before"] > 1e-3
        assert f"| {row['name']} | {exact} | {errors[exact - 1]:.2g} |" in text
    summary = analysis.summary(expected["star"].topology)._asdict()
    star = next(row for row in table if row["name"] == "star")
    assert {key: star[key] for key in summary} == summary
    again = analysis.consensus_errors(expected["ring"].topology, 6)
    np.testing.assert_allclose([p["error"] for p in by_round["ring"]], again.errors)
    assert [p["messages"] for p in by_round["ring"]] == list(range(0, 97, 16))


@pytest.mark.parametrize("size", [2, 3, 4, 7, 9, 10, 12, 32])
def test_every_size_has_its_topologies_or_says_why_not(size):
    entries, remarks = catalogue(size, seed=1)
    assert {entry.topology.num_slots for entry in entries.values()} == {size}
    names, said = " ".join(entries), " ".join(remarks)
    for name in ("hypercube", "1-peer hypercube", "hyper-hypercube", "caveman"):
        assert any(word.endswith(name) or name in word for word in (names, said))
    for name, entry in entries.items():
        if entry.exact:
            assert analysis.exact_after(entry.topology) is not None, name
        if entry.positions is not None:
            assert entry.positions.shape == (size, 2)


def test_what_is_left_out_is_said():
    said = " ".join(catalogue(14, seed=0).remarks)
    assert "hypercube and 1-peer hypercube are left out" in said
    assert "hyper-hypercube is left out: 14 has a prime factor above 5" in said
    assert "caveman is left out" in said
    entries, remarks = catalogue(16, seed=0)
    assert remarks == []
    kinds = [entry.rounds for entry in entries.values()]
    assert [kinds.count(kind) for kind in (STATIC, PERIODIC, RANDOM)] == [14, 7, 8]
    assert kinds == 14 * [STATIC] + 7 * [PERIODIC] + 8 * [RANDOM]


def test_a_graph_that_is_not_exact_as_promised_stops_the_study(
    monkeypatch, tmp_path, capsys
):
    only(monkeypatch, wrong=Entry(graphs.ring(8), PERIODIC, exact=True))
    words = ("--sizes", "8", "--num-rounds", "3")
    told = refused("consensus", capsys, lambda: run(monkeypatch, tmp_path, *words))
    assert told == (
        "consensus: wrong on 8 slots should average exactly within a period of 1 "
        "rounds, but does not; its matrices are wrong."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("predicted", "sentence"),
    [
        (2, r"exactly after 2 rounds, but the error is 0\.\d+ then and below 1e-05 "),
        (4, r"exactly after 4 rounds, .* below 1e-05 after 3 rounds"),
    ],
)
def test_a_wrong_prediction_stops_the_study(
    monkeypatch, tmp_path, capsys, predicted, sentence
):
    only(monkeypatch, cube=Entry(graphs.one_peer_hypercube(8), PERIODIC, exact=True))
    right = analysis.summary

    def wrong(*args):
        return right(*args)._replace(exact_after=predicted)

    monkeypatch.setattr(analysis, "summary", wrong)
    words = ("--sizes", "8", "--num-rounds", "2")
    told = refused("consensus", capsys, lambda: run(monkeypatch, tmp_path, *words))
    assert re.match(f"consensus: cube on 8 slots.*{sentence}", told)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_matrix_stops_the_study(monkeypatch, tmp_path, capsys):
    right = graphs.one_peer_hypercube(8)
    weights = tele.to_matrices(right)
    weights[2] = weights[1]  # the last round repeats the one before
    only(monkeypatch, cube=Entry(tele.from_matrices(weights), PERIODIC, exact=True))
    words = ("--sizes", "8", "--num-rounds", "2")
    told = refused("consensus", capsys, lambda: run(monkeypatch, tmp_path, *words))
    assert "cube on 8 slots should average exactly" in told


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--sizes", "1"), "got sizes=(1,), expected numbers of 2 to 200 slots"),
        (("--sizes", "25", "0"), "got sizes=(25, 0), expected numbers of 2 to 200"),
        (("--sizes", "1000"), "expected numbers of 2 to 200 slots"),
        (("--sizes", "9", "9"), "got sizes=(9, 9), expected each size once"),
        (("--epsilon", "0"), "got epsilon=0.0, expected 0 < epsilon < 1"),
        (("--epsilon", "nan"), "got epsilon=nan, expected 0 < epsilon < 1"),
        (("--num-rounds", "0"), "got num_rounds=0, expected at least 1"),
        (("--seed", "-1"), "got seed=-1, expected 0 to"),
    ],
)
def test_what_cannot_run_is_said_and_leaves_nothing(
    monkeypatch, tmp_path, capsys, words, sentence
):
    told = refused("consensus", capsys, lambda: run(monkeypatch, tmp_path, *words))
    assert sentence in told
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_flag_is_answered_with_the_closest(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, tmp_path, "--size", "8")
    assert stop.value.code == 2
    assert "--sizes" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_stops_before_the_work(
    monkeypatch, tmp_path, capsys
):
    (tmp_path / "results").write_text("a file where the folder should be")
    monkeypatch.setattr(consensus, "study", None)  # no work is reached
    told = refused("consensus", capsys, lambda: run(monkeypatch, tmp_path))
    assert "cannot write to" in told
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_an_interrupted_study_leaves_nothing(monkeypatch, tmp_path, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(consensus, "study", interrupted)

    def call():
        run(monkeypatch, tmp_path, "--sizes", "8")

    assert "interrupted; nothing was" in refused("consensus", capsys, call, code=130)
    assert list(tmp_path.iterdir()) == []
