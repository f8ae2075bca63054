"""The neural study, small: recipe, counts, stored cells and refusals."""

import dataclasses
import shutil
import sys
import warnings
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pyarrow.parquet as pq
import pytest

from experiments import (
    machine,
    neural,
    neural_cells,
    neural_cost,
    neural_data,
    neural_runs,
    report,
)
from experiments.neural_cells import Cell
from experiments.neural_recipe import Recipe
from experiments.neural_runs import _start
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


def test_the_report_needs_the_cells_only(folder, monkeypatch, tmp_path, capsys):
    shutil.copytree(folder / "cells", tmp_path / "cells")
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path)])
    report.main()
    table = (tmp_path / "table.md").read_text()
    assert sorted(table.splitlines()) == sorted(
        (folder / "table.md").read_text().splitlines()
    )
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
        assert cell.settings["chosen_by"] == ("Algorithm 2" if chosen else "given")
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
    """Stopped before the second seed, which would train the first no more."""
    trained = []
    train = neural_runs.train

    def stopped(method, task, rate, seeds, *rest):
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(seeds.tolist())
        return train(method, task, rate, seeds, *rest)

    one = {"seeds_per_program": "1"}
    monkeypatch.setattr(neural_runs, "train", stopped)
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path / "run", **one)
    kept = list((tmp_path / "run" / "runs").iterdir())
    assert len(kept) == 1
    checkpoints = kept[0] / "checkpoints"
    before = sorted(path.name for path in checkpoints.iterdir())
    monkeypatch.setattr(neural_runs, "train", train)
    monkeypatch.setattr(report, "write", lambda path: "")
    run(monkeypatch, tmp_path / "run", "--resume", **one)
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


def test_all_cells_of_the_presets_are_built():
    for preset in ("quick", "medium", "paper"):
        config = neural.resolve(neural.Config(preset=preset))
        cells = neural.cells(config)
        assert len({(cell.label, cell.alpha) for cell in cells}) == len(cells)
        ablated = {cell.alpha for cell in cells if cell.ablation}
        assert ablated == (set() if preset == "quick" else {0.1})
        for cell in cells:
            algorithm = neural_cells.build(config, cell, 4)(0.1)
            assert algorithm.topology.num_slots == cell.num_active
            assert algorithm.learning_rate.shape == (4,)


@pytest.mark.parametrize("preset", ["quick", "medium", "paper"])
def test_crops_and_ablations_are_those_of_the_preset_unless_they_are_given(preset):
    config = neural.resolve(neural.Config(preset=preset))
    assert config.recipe.augment is (preset == "paper")
    assert config.ablations is (preset != "quick")
    for value in (False, True):
        given = neural.Config(
            preset=preset, ablations=value, recipe=Recipe(augment=value)
        )
        assert neural.resolve(given).recipe.augment is value
        assert neural.resolve(given).ablations is value


def test_the_schedules_are_their_formulas():
    assert Recipe(schedule="constant").factors(5).tolist() == [1.0] * 5
    steps = Recipe(schedule="step").factors(8)
    # Round t has the schedule's value at t + 1: rounds 3 and 5 are the first after it.
    np.testing.assert_allclose(steps, [1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01], rtol=1e-6)
    found = Recipe(warm_up=0.2).factors(20)
    t = np.arange(1, 21)
    cosine = 0.5 * (1 + np.cos(np.pi * (t - 4) / (21 - 4)))
    np.testing.assert_allclose(found, np.where(t < 4, t / 4, cosine), atol=1e-6)
    assert (found > 0).all()


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_direction_is_sgd_with_momentum_and_weight_decay(nesterov):
    direction = Recipe(nesterov=nesterov, momentum=0.9, weight_decay=0.1).direction()()
    x, gradients = jnp.array([2.0, -1.0]), jnp.array([[1.0, 3.0], [0.5, -2.0]])
    state, velocity = direction.init(x), np.zeros(2)
    for gradient in gradients:
        found, state = direction.update(gradient, state, x)
        decayed = np.asarray(gradient) + 0.1 * np.asarray(x)
        velocity = 0.9 * velocity + decayed
        expected = decayed + 0.9 * velocity if nesterov else velocity
        chex.assert_trees_all_close(found, expected.astype(np.float32), rtol=1e-6)
        x = optax.apply_updates(x, -0.1 * found)


def test_seeds_that_do_not_fit_are_refused(monkeypatch):
    config = neural.resolve(
        neural.Config(
            dataset="digits",
            model="mlp",
            num_nodes=6,
            num_active=2,
            recipe=Recipe(batch_size=8),
        )
    )
    dataset, notes = neural_data.load("digits")
    assert notes == []
    tasks = {alpha: neural_data.tasks(config, dataset, alpha) for alpha in (10.0,)}
    cells = [Cell("DSGD", "ring", 6, 10.0)]
    assert config.num_seeds == 2
    plan = neural_cost.plan(config, cells, tasks)
    assert plan.seeds_per_program == 1  # on a CPU
    told = neural_cost.text(config, plan)
    assert "1 of 2 seeds at a time" in told
    # A tenth of 1,437 images is held out: six nodes have 26 batches of 8, two epochs.
    assert f"{2 * 2 * 26 * 6:,} gradients of 8 images" in told
    both = dataclasses.replace(config, seeds_per_program=2)
    assert neural_cost.plan(both, cells, tasks).seeds_per_program == 2

    def has(limit):
        device = SimpleNamespace(
            platform="gpu", memory_stats=lambda: {"bytes_limit": limit}
        )
        monkeypatch.setattr(machine, "device", lambda: device)

    has(10**12)
    plan = neural_cost.plan(config, cells, tasks)
    assert plan.seeds_per_program == 2
    # A chunk of rounds holds the models it is resumed from beside its own.
    one = plan.largest.total + plan.largest.state
    has(one + one // 100)  # the data are held once, so two need less than twice as much
    assert neural_cost.plan(config, cells, tasks).seeds_per_program == 1
    has(one // 2)
    with pytest.raises(ValueError, match=r"the device has .*--slots-at-once or"):
        neural_cost.plan(config, cells, tasks)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"graphs": "rings"}, "got graph 'rings', expected some of ring"),
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


@pytest.mark.parametrize(
    ("model", "batch_size", "given", "expected"),
    [
        ("resnet20", 32, 0, 8),
        ("resnet18", 32, 0, 16),
        ("mixer", 50, 0, 5),
        ("resnet20", 7, 0, None),
        ("mlp", 32, 0, None),
        ("mlp", 32, 16, 16),
    ],
)
def test_examples_at_once_on_a_cpu(model, batch_size, given, expected):
    recipe = Recipe(batch_size=batch_size, examples_at_once=given)
    config = neural.Config(
        dataset="digits", num_nodes=2, validation=0.1, model=model, recipe=recipe
    )
    dataset, _ = neural_data.load("digits")
    task = neural_data.tasks(neural.resolve(config), dataset, 10.0).test
    assert task.examples_at_once == expected
    flops = neural_cost._flops(task, jax.eval_shape(_params_of, task))
    whole = task.replace(examples_at_once=None)
    assert flops == neural_cost._flops(whole, jax.eval_shape(_params_of, task))


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_networks_compute_in_the_recipes_type(name):
    recipe = Recipe(batch_size=8, compute_dtype=name)
    config = neural.Config(dataset="digits", num_nodes=2, model="mlp", recipe=recipe)
    dataset, _ = neural_data.load("digits")
    task = neural_data.tasks(neural.resolve(config), dataset, 10.0).test
    products = str(jax.make_jaxpr(task.evaluate)(_params_of(task)))
    assert ("bf16" in products) == (name == "bfloat16")


def _params_of(task):
    return task.model.init(jax.random.key(0), task.inputs[:1])


def test_a_class_that_nobody_owns_is_refused():
    config = neural.resolve(neural.Config(dataset="digits", num_nodes=2))
    dataset, _ = neural_data.load("digits")
    lonely = dataset._replace(
        train_labels=np.where(dataset.train_labels == 3, 4, dataset.train_labels)
    )
    with pytest.raises(ValueError, match="no node owns an example of class 3"):
        neural_data.tasks(config, lonely, 10.0)


def test_a_stand_in_for_a_dataset_is_told(monkeypatch):
    def load(name):
        warnings.warn("not the official file", stacklevel=2)
        return neural_data.datasets.digits()

    monkeypatch.setattr(neural_data.datasets, "by_name", load)
    assert neural_data.load("cifar10")[1] == ["not the official file"]


def test_jax_keys_of_epochs_differ_between_seeds():
    config = neural.resolve(neural.Config(dataset="digits", model="softmax"))
    dataset, _ = neural_data.load("digits")
    task = neural_data.tasks(config, dataset, 10.0).test
    keys = [jax.random.key_data(_start(task, jnp.int32(s))[2]) for s in (0, 1)]
    assert (keys[0] != keys[1]).any()
