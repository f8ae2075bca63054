"""What the neural study says it takes, and what does not fit into memory."""

import dataclasses
from types import SimpleNamespace

import pytest

from experiments import machine, neural, neural_cost, neural_data
from experiments.neural_cells import Cell
from experiments.neural_cost import Needed, _remedy
from experiments.neural_recipe import Recipe


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
    images = neural_data.images(config, dataset)
    tasks = {10.0: neural_data.tasks(config, images, 10.0)}
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
    one = plan.needed.data + plan.needed.of_seed
    has(one + one // 100)  # the data are held once, so two need less than twice as much
    assert neural_cost.plan(config, cells, tasks).seeds_per_program == 1
    with pytest.raises(ValueError, match=r": 2 of 2, which .*; lower --seeds-per-pro"):
        neural_cost.plan(both, cells, tasks)


def test_devices_share_the_slots(monkeypatch):
    """Each of eight holds a slot of eight, but all of nine; data all of them."""

    def needed(num_nodes, devices):
        config = neural.resolve(
            neural.Config(dataset="digits", model="mlp", num_nodes=num_nodes)
        )
        images = neural_data.images(config, neural_data.load("digits")[0])
        tasks = {10.0: neural_data.tasks(config, images, 10.0)}
        cells = [Cell("DSGD", "ring", num_nodes, 10.0)]
        monkeypatch.setattr(machine, "num_sharing", lambda _: devices)
        return neural_cost.plan(config, cells, tasks).needed

    assert needed(8, 8).models == needed(8, 1).models // 8
    assert needed(9, 8).models == needed(9, 1).models
    assert needed(8, 8).data == needed(8, 1).data


@pytest.mark.parametrize(
    ("needed", "words"),
    [
        (Needed(models=10, step=30, evaluation=20, data=20), "lower --seeds-per-prog"),
        (Needed(models=10, step=80, evaluation=20, data=20), "lower --batch-size, or"),
        (
            Needed(models=10, step=80, evaluation=80, data=20),
            "evaluated on many images",
        ),
        (Needed(models=90, step=80, evaluation=80, data=20), "lower --num-nodes"),
        (Needed(models=90, step=80, evaluation=80, data=101), "a smaller --dataset"),
    ],
)
def test_what_would_help_is_told(needed, words):
    assert words in _remedy(needed, available=100)
