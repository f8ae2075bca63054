"""The study of many nodes, small: what it writes, and what it refuses."""

import re
import sys

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

import tele_jax as tele
from experiments import machine, many_nodes, many_nodes_report
from experiments.benchmarks import measure
from experiments.many_nodes import Config
from tele_jax.tasks import datasets
from tests.experiments.commands import refused

SMALL = "--num-nodes 6 12 --num-active 4 --num-rounds 4 --num-evals 2 --no-progress"
RING = tele.graphs.ring(4)


def run(monkeypatch, folder, words):
    """Call the command."""
    given = ["many_nodes", *SMALL.split(), *words.split(), "--run", str(folder)]
    monkeypatch.setattr(sys, "argv", given)
    many_nodes.main()


def test_writes_what_was_measured_of_every_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(measure, "seconds", lambda program: 0.5)
    run(monkeypatch, tmp_path / "run", "")
    folder = tmp_path / "run"
    rows = pq.read_table(folder / "runs.parquet").to_pylist()
    of = [(row["method"], row["num_nodes"], row["num_slots"]) for row in rows]
    assert of == [
        ("TELEPORTATION", 6, 4),
        ("DSGD", 6, 6),
        ("TELEPORTATION", 12, 4),
        ("DSGD", 12, 12),
    ]
    for row in rows:
        assert row["rounds"] == [0, 2, 4]
        # All begin alike, but for the rounding of their mean.
        assert row["distance"][0] < 1e-9 < row["distance"][-1]
        assert row["model_bytes"] == row["num_slots"] * 650 * 4
        assert row["round_seconds"] == 0.25  # half a second for a chunk of two
        task, _ = many_nodes.make_task(Config(), datasets.digits(), row["num_nodes"])
        assert row["data_bytes"] == sum(leaf.nbytes for leaf in jax.tree.leaves(task))
        assert row["peak_bytes"] > 10**8  # Python with jax alone
    assert (folder / "table.md").read_text() in capsys.readouterr().out
    assert (folder / "many_nodes.png").stat().st_size > 10_000
    assert not list((folder / "runs").iterdir())  # models may be large


def test_a_million_nodes_take_the_memory_of_a_thousand():
    """Beside their data, which are two numbers of images for each."""
    config, algorithm = Config(examples_per_node=2), tele.Teleportation(RING, 0.1)

    def memory(num_nodes):
        task, _ = many_nodes.make_task(config, datasets.digits(), num_nodes)
        assert task.index.shape == (num_nodes, 2)
        params = task.model.init(jax.random.key(0), task.inputs[:1])

        def run(task):
            key = jax.random.key(1)
            return tele.simulate(algorithm, task, params, key, num_rounds=2)

        used = jax.jit(run).lower(task).compile().memory_analysis()
        return used.temp_size_in_bytes + used.output_size_in_bytes

    assert memory(10**6) == memory(1000)


@pytest.mark.parametrize(
    ("method", "algorithm"),
    [
        ("DSGD", tele.DSGD(tele.graphs.ring(6), 0.1)),
        ("TELEPORTATION", tele.Teleportation(tele.graphs.ring(4), 0.1)),
    ],
)
def test_accuracies_are_those_of_a_run_by_hand(
    monkeypatch, tmp_path, method, algorithm
):
    run(monkeypatch, tmp_path / "run", f"--methods {method} --num-nodes 6")
    (row,) = pq.read_table(tmp_path / "run" / "runs.parquet").to_pylist()
    task, _ = many_nodes.make_task(Config(), datasets.digits(), 6)
    start, key = jax.random.split(jax.random.key(0))
    found = tele.simulate(
        algorithm,
        task,
        task.model.init(start, task.inputs[:1]),
        key,
        num_rounds=4,
        eval_every=2,
    )
    np.testing.assert_allclose(row["accuracy"], found.metrics["accuracy"], atol=0.005)
    np.testing.assert_allclose(
        row["distance"], found.metrics["consensus_distance"], rtol=1e-3, atol=1e-12
    )


def test_what_is_done_is_read_again(monkeypatch, tmp_path):
    run(monkeypatch, tmp_path / "run", "--num-nodes 6")
    before = (tmp_path / "run" / "runs.parquet").read_bytes()
    monkeypatch.setattr(many_nodes, "run_method", lambda *_: pytest.fail("ran again"))
    run(monkeypatch, tmp_path / "run", "--num-nodes 6 --resume")
    assert (tmp_path / "run" / "runs.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--num-nodes 2", "got num_nodes=(2,), expected numbers from 4 up"),
        ("--num-nodes 1 --methods DSGD", "expected numbers from 2 up"),
        ("--num-evals 3", "got num_evals=3 with num_rounds=4, expected a divisor"),
        ("--num-evals 0", "got num_evals=0 with num_rounds=4, expected a divisor"),
        ("--batch-size 0", "got batch_size=0, expected at least 1"),
        ("--graph chain", "got graph='chain', expected one of ring"),
        ("--alpha 0", "got alpha=0.0, expected a positive number"),
        ("--learning-rate nan", "got learning_rate=nan, expected a positive number"),
        ("--model lenett", "did you mean 'lenet'"),
        ("--num-nodes 6 6", "got num_nodes=(6, 6), expected some, each once"),
        ("--methods DSGD DSGD", "expected some, each once"),
        ("--model lenet", "LeNet: got inputs of shape (1, 8, 8"),
    ],
)
def test_bad_flags_are_refused_and_leave_nothing(
    monkeypatch, tmp_path, capsys, words, sentence
):
    def call():
        run(monkeypatch, tmp_path / "run", words)

    assert re.search(re.escape(sentence), refused("many_nodes", capsys, call))
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_refused_before_any_work(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(machine, "memory_of", lambda _: 2_000_000)

    def call():
        run(monkeypatch, tmp_path / "run", "--num-nodes 6 5000 --methods DSGD")

    line = refused("many_nodes", capsys, call)
    assert "DSGD, n=5,000 needs about" in line
    assert "lower --num-nodes" in line
    assert list(tmp_path.iterdir()) == []


def test_the_table_tells_rounds_a_second():
    outcome = many_nodes_report.Outcome(
        method="TELEPORTATION",
        num_nodes=1_000_000,
        num_slots=64,
        start_seconds=3.0,
        round_seconds=0.005,
        model_bytes=2_000_000,
        data_bytes=10**9,
        peak_bytes=2 * 10**9,
        rounds=(0, 10),
        accuracy=(0.1, 0.5),
        distance=(0.0, 1.0),
    )
    assert many_nodes_report.table([outcome]).splitlines()[-1] == (
        "| TELEPORTATION, n = 1,000,000, k = 64 | 64 | 3.0 | 200 | 2 MB | 1.00 GB "
        "| 2.00 GB | 50.0 % |"
    )
