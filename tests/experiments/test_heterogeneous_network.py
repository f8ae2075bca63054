"""The study of networks, small: its clocks are those of its runs, its files agree."""

import functools
import json
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from experiments import heterogeneous_network as study
from experiments import network_figures, network_report, network_runs
from experiments.network_presets import PRESETS
from tele_jax import network
from tests.experiments.commands import refused

SMALL = (
    *("--preset", "quick", "--num-nodes", "5", "--num-active", "2"),
    *("--num-rounds", "8", "--num-evals", "4", "--num-seeds", "2"),
    *("--alphas", "1.0", "--rates", "0.3", "0.6", "--slowdowns", "1", "4"),
    *("--crash-rates", "0", "0.5", "--model", "softmax", "--target", "0.5"),
)


def run(monkeypatch, folder, *words):
    """Call the command."""
    flags = ["heterogeneous_network", *words, "--run", str(folder / "run")]
    monkeypatch.setattr(sys, "argv", flags)
    study.main()


def test_clocks_of_models_of_one_number_are_those_of_the_run():
    n = 6
    build = network_runs.methods(n, 3)["TELEPORTATION, Base-2, k=3"]
    ring = network.neighbours_of(tele.graphs.ring(n))
    task = tele.tasks.least_squares(jax.random.key(0), num_nodes=n, dim=10)
    # 40 bytes over links of 20 bytes a second, or 4 over 2.
    of_run, of_clock = (
        tele.Network(
            network.preferred(ring, 3.0, 0.1, bandwidth), network.constant(0.5)
        )
        for bandwidth in (20.0, 2.0)
    )
    keys = network_runs.run_keys(0, 2)
    written = network_runs.written_down(of_clock, n, "serial")
    stacked = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], written)
    seconds, sent = network_runs.clocks(build, stacked, n, keys, 12)
    for key, mine, my_bytes in zip(keys, seconds[0], sent[0], strict=True):
        timed = tele.Timed(build(0.1), of_run.replace(sends="serial"))
        info = tele.simulate(timed, task, jnp.ones(10), key, num_rounds=12).info
        chex.assert_trees_all_close(mine, tele.metrics.elapsed(info), rtol=1e-6)
        chex.assert_trees_all_close(my_bytes, np.cumsum(info.bytes) / 10, rtol=1e-6)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_preset_written_down_is_the_preset(preset):
    net = preset.build(7, 2.0)
    written = network_runs.written_down(net, 7, "parallel")
    i, j = jnp.divmod(jnp.arange(49), 7)
    i, j = i[i != j], j[i != j]
    chex.assert_trees_all_close(written.links.between(i, j), net.links.between(i, j))
    assert float(net.links.between(i, j).bandwidth.max()) <= 2.0 * 1.25e9 * 1.001


def test_when_a_target_is_met():
    trained = network_figures.Trained(
        rounds=np.array([0, 2, 4]),
        accuracy=np.array([[[0.1, 0.5, 0.9], [0.1, 0.2, 0.3]]]),
        rates=np.array([0.1]),
        loss=np.zeros((1, 2, 3)),
        loss_rates=np.array([0.1]),
    )
    timing = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    met = functools.partial(network_report.time_to, trained, timing, 0)
    assert met(0.5).tolist() == [2.0, np.inf]
    assert met(0.9).tolist() == [4.0, np.inf]
    assert met(0.0).tolist() == [0.0, 0.0]


def test_the_command_writes_tables_and_figures_and_reads_them(
    monkeypatch, tmp_path, capsys
):
    two = {
        name: build
        for name, build in network_runs.methods(5, 2).items()
        if name in ("DSGD, ring", "TELEPORTATION, ring, k=2")
    }
    monkeypatch.setattr(study, "chosen_methods", lambda config: two)
    monkeypatch.setitem(study.POLICIES, "quick", ())
    run(monkeypatch, tmp_path, *SMALL)
    first = capsys.readouterr().out
    folder = tmp_path / "run"
    tables = json.loads((folder / "tables.json").read_text())
    assert len(tables["Final accuracy"]) == 2
    assert len(tables["Crashes"]) == 2
    assert "| α | target, % | method | τ = 1 | τ = 4 |" in first
    for name in ("seconds", "crossover", "least_squares", "crashes"):
        assert (folder / f"{name}.png").stat().st_size > 10_000
    before = (folder / "tables.json").read_bytes()
    run(monkeypatch, tmp_path, *SMALL, "--resume")
    assert (folder / "tables.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--slowdowns", "0.5"), "got slowdowns=(0.5,), expected at least 1"),
        (("--num-active", "26"), "got num_active=26, expected 1 <= num_active <= num"),
        (("--crash-rates", "1.0"), "got crash_rates=(1.0,), expected below 1"),
        (("--num-nodes", "3", "--num-active", "2"), "a node in each of 4 regions"),
        (("--seconds-per-step", "-1"), "constant: got seconds=-1"),
        (("--model-megabytes", "nan"), "bandwidth=nan"),
        (("--alphas", "nan"), "got alphas=[nan], expected numbers >= 0"),
        (("--num-evals", "7"), "num_evals=7 must divide num_rounds=120"),
        (("--target", "0"), "got target=0.0 and model_megabytes=36.9"),
        (("--num-seeds", "0"), "got num_seeds=0, expected at least 1"),
    ],
)
def test_bad_settings_are_told_before_any_work(
    monkeypatch, tmp_path, capsys, words, expected
):
    call = functools.partial(run, monkeypatch, tmp_path, "--preset", "quick", *words)
    line = refused("heterogeneous_network", capsys, call)
    assert expected in line
    assert not (tmp_path / "run").exists()
