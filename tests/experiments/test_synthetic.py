"""The synthetic study, small: its arrivals are those of plain runs, its files agree."""

import json
import math
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest

import tele_jax as tele
from experiments import synthetic, synthetic_cells, synthetic_report, synthetic_runs
from experiments.synthetic_cells import Job, Row
from tests.experiments.commands import refused

SWEEP = synthetic_runs.Sweep(
    noise=((0.5, 1.0), (0.0, 2.0)),
    rates=(0.5, 0.1),
    seeds=(0, 1, 2),
    num_rounds=20,
    eval_every=5,
    dim=4,
    target=0.02,
)


def run(monkeypatch, folder, *words):
    """Call the command."""
    monkeypatch.setattr(
        sys, "argv", ["synthetic", *words, "--results", str(folder / "results")]
    )
    synthetic.main()


def test_arrivals_are_those_of_plain_runs():
    measured = synthetic_runs.dsgd(SWEEP, tele.graphs.ring, 4)
    assert measured.arrivals.shape == (1, 3, 2, 2)
    assert measured.compiled == 1
    for (seed, cell, rate), arrival in np.ndenumerate(measured.arrivals[0]):
        task = synthetic_runs.task_of(
            4, 4, *SWEEP.noise[cell], synthetic_runs.unit_zeta2(4, 4)
        )
        alone = tele.simulate(
            tele.DSGD(tele.graphs.ring(4), SWEEP.rates[rate]),
            task,
            jnp.ones(4),
            jax.random.key(seed),
            num_rounds=20,
            eval_every=5,
        )
        squares = np.asarray(alone.metrics["grad_norm_sq"])
        below = np.flatnonzero(squares <= SWEEP.target)
        assert arrival == (5 * below[0] if len(below) else math.inf)
        score = measured.scores[0, seed, cell, rate]
        assert score == pytest.approx(-squares[-1], rel=1e-4)
    assert {*np.isfinite(measured.arrivals).ravel()} == {True, False}


def test_algorithm_2_is_scored_by_the_gradient_at_the_end():
    measured = synthetic_runs.teleportation(SWEEP, tele.graphs.ring, 3)
    assert measured.arrivals.shape == (3, 3, 2, 2)  # k = 1, 2 and 3
    task = synthetic_runs.task_of(
        3, 4, *SWEEP.noise[1], synthetic_runs.unit_zeta2(3, 4)
    )
    alone = tele.search(
        tele.graphs.ring, task, jnp.ones(4), jax.random.key(2), 0.1, num_rounds=20
    )
    for k, model in enumerate(alone.models):
        square = float(jnp.sum(task.gradient(model) ** 2))
        assert measured.scores[k, 2, 1, 1] == pytest.approx(-square, rel=1e-3)


def test_a_cell_has_the_constants_that_it_is_named_after():
    for n in (2, 9, 64):
        constants = synthetic_runs.constants_of(n, 5, sigma2=0.7, zeta2=1.9)
        assert constants.sigma2 == pytest.approx(0.7)
        assert constants.zeta2 == pytest.approx(1.9, rel=1e-4)
        assert constants.smoothness == pytest.approx(1.0)


def _measured(arrivals, scores):
    return synthetic_runs.Measured(np.array(arrivals), np.array(scores), 1)


def test_a_cell_takes_the_best_step_size_and_never_drops_a_miss(monkeypatch):
    # [k, seed, cell, rate]: with the first rate one of three seeds misses, with the
    # second all arrive, later in the median but for one that is first of all.
    arrivals = [[[[5, 10]], [[5, 10]], [[math.inf, 0]]]]
    found = _measured(arrivals, np.zeros((1, 3, 1, 2)))
    sweep = synthetic_runs.Sweep(((1.0, 0.0),), (0.5, 0.1), (0, 1, 2), 20, 5, 4, 0.02)
    monkeypatch.setattr(synthetic_runs, "dsgd", lambda *_: found)
    (row,) = synthetic_cells.run(sweep, Job("DSGD", "ring", 8)).rows
    assert (row.rounds, row.rounds_min, row.rounds_max) == (5, 5, math.inf)
    assert (row.missed, row.rate, row.num_active) == (1, 0.5, 8)
    assert row.gradients == 5 * 8
    assert row.messages == 5 * 16
    config = synthetic.Config(num_rounds=20, rates=(0.5, 0.1), noise=((1.0, 0.0),))
    told = synthetic_report.text(config, [row], [])
    assert "| DSGD, ring | 5 (5 to > 20) [0.5*] |" in told
    never = _measured(np.full((1, 3, 1, 2), math.inf), np.zeros((1, 3, 1, 2)))
    monkeypatch.setattr(synthetic_runs, "dsgd", lambda *_: never)
    (row,) = synthetic_cells.run(sweep, Job("DSGD", "ring", 8)).rows
    assert row.missed == 3
    assert math.isnan(row.rate)
    assert "| DSGD, ring | > 20 |" in synthetic_report.text(config, [row], [])


def test_one_seed_of_algorithm_2_chooses_and_the_others_judge(monkeypatch):
    # Waves of n = 3: k = 1, 2, then 3. Seed 0 scores k = 1 best, the others k = 3.
    arrivals = np.array([[30, 10, 10], [20, 20, 20], [5, 15, 25]], float)
    scores = np.array([[9, 0, 0], [1, 1, 1], [2, 2, np.nan]])
    found = _measured(arrivals[:, :, None, None], scores[:, :, None, None])
    sweep = synthetic_runs.Sweep(((1.0, 0.0),), (0.5,), (0, 1, 2), 50, 5, 4, 0.02)
    monkeypatch.setattr(synthetic_runs, "teleportation", lambda *_: found)
    outcome = synthetic_cells.run(sweep, Job("TELEPORTATION", "ring", 3))
    (choice,) = outcome.choices
    assert choice.search_ks == (1, 3, 2)
    # Theory does not depend on seeds: its k is judged by two of them at a time.
    place = (1, 2, 3).index(choice.theory_k)
    pairs = [np.delete(arrivals[place], seed) for seed in range(3)]
    assert choice.theory_rounds == np.median([np.median(pair) for pair in pairs])
    # Judged by the other two seeds: 10 and 10; 5 and 25; 20 and 20.
    assert choice.search_rounds == np.median([10, 15, 20])
    # The seeds themselves are fastest with k = 3, 1 and 1: 15 and 25; 30 and 10 twice.
    assert choice.grid_k == 1
    assert choice.grid_rounds == np.median([20, 20, 20])
    nobody = _measured(found.arrivals, np.full((3, 3, 1, 1), np.nan))
    monkeypatch.setattr(synthetic_runs, "teleportation", lambda *_: nobody)
    (choice,) = synthetic_cells.run(sweep, Job("TELEPORTATION", "ring", 3)).choices
    assert choice.search_ks == (0, 0, 0)
    assert choice.search_rounds == math.inf
    assert choice.search_cost == pytest.approx(2 / 3)
    # Three slots that all hear each other: nobody pulls from himself but 1 in n times.
    sent = [row.messages_per_round for row in outcome.rows]
    np.testing.assert_allclose(sent, np.array([1, 4, 9]) * 2 / 3)


def test_writes_a_folder_whose_numbers_agree(monkeypatch, tmp_path, capsys):
    few = {name: synthetic_runs.GRAPHS[name] for name in ("ring", "complete")}
    monkeypatch.setattr(synthetic, "GRAPHS", few)
    monkeypatch.setattr(synthetic, "TOKEN_GRAPHS", ("ring",))
    words = "--sizes 4 --num-rounds 20 --num-seeds 3 --dim 4 --target 0.05 "
    words += "--eval-every 5 --rates 0.5 0.1 --noise 0.5 1.0"
    run(monkeypatch, tmp_path, *words.split())
    (folder,) = (tmp_path / "results").iterdir()
    figures = {"nodes.png", "k.png"}
    files = {"config.json", "environment.json", "table.md", "log.txt", "lock", "parts"}
    tables = {"rows.parquet", "choices.parquet"}
    assert {path.name for path in folder.iterdir()} == figures | files | tables
    config = json.loads((folder / "config.json").read_text())
    assert (config["sizes"], config["num_rounds"]) == ([4], 20)
    rows = pq.read_table(folder / "rows.parquet").to_pylist()
    labels = ["DSGD, ring", "All-reduce SGD", *3 * ["TELEPORTATION, ring"]]
    assert [row["label"] for row in rows] == labels
    assert [row["num_active"] for row in rows] == [4, 4, 1, 2, 4]
    (choice,) = pq.read_table(folder / "choices.parquet").to_pylist()
    best = min(rows[2:], key=lambda row: row["rounds"])
    assert choice["grid_k"] == best["num_active"]
    text = (folder / "table.md").read_text()
    assert text in capsys.readouterr().out
    assert "3 sweeps, 3 programs compiled for them;" in text
    assert "| TELEPORTATION, ring, k = n |" in text


def test_presets_name_all_programs():
    quick = synthetic.jobs(synthetic.resolve(synthetic.Config()))
    assert len(quick) == 24
    assert len({(job.label, job.num_nodes) for job in quick}) == 24
    full = synthetic.jobs(synthetic.resolve(synthetic.Config(preset="full")))
    assert {job.num_nodes for job in full} >= {2, 1024, 2**17}
    assert full[-1] == Job("TELEPORTATION", "ring", 2**17, synthetic.FEW)
    own = synthetic.resolve(synthetic.Config(preset="full", sizes=(4,)))
    assert {job.num_nodes for job in synthetic.jobs(own)} == {4}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--num-rounds 12", "eval_every=5 must divide num_rounds=12"),
        ("--eval-every 0", "eval_every=0 must divide"),
        ("--sizes 1", r"got sizes=\(1,\), expected distinct numbers >= 2"),
        ("--sizes 4 4", r"got sizes=\(4, 4\), expected distinct"),
        ("--num-seeds 1", "got num_seeds=1, expected at least 2"),
        ("--num-rounds -5", "got num_rounds=-5, expected at least 1"),
        ("--rates 0.1 -1", "expected positive step sizes"),
        ("--noise -1 0", "expected pairs of variances that are not negative"),
        ("--target 0", r"got target=0\.0, expected a positive number"),
    ],
)
def test_bad_flags_are_refused_and_leave_nothing(
    monkeypatch, tmp_path, capsys, words, sentence
):
    def call():
        run(monkeypatch, tmp_path, *words.split())

    assert re.search(sentence, refused("synthetic", capsys, call))
    assert list(tmp_path.iterdir()) == []


def test_rows_are_ordered_by_what_is_counted():
    def row(k, rounds):
        return Row("T", "ring", 8, k, 1, 0, 0.1, rounds, rounds, rounds, 0, 3.0 * k)

    rows = [row(1, 15.0), row(2, 10.0), row(8, 10.0)]
    for name, k in (("rounds", 2), ("gradients", 1), ("messages", 1)):
        measure = synthetic_report.MEASURES[name]
        (best,) = synthetic_report.best_of(rows, measure)
        assert best.num_active == k
