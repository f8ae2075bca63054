"""What the neural study says it takes, and what does not fit into memory."""

import dataclasses
from types import SimpleNamespace

import pytest

from experiments import machine, neural, neural_cost, neural_data
from experiments.neural_cells import Cell
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
    with pytest.raises(ValueError, match="; lower --seeds-per-program from 2"):
        neural_cost.plan(both, cells, tasks)
    has(one - plan.needed.work // 2)
    with pytest.raises(ValueError, match=r"the device has .*give --slots-at-once or"):
        neural_cost.plan(config, cells, tasks)
    has(plan.needed.data + plan.needed.models // 2)
    with pytest.raises(ValueError, match=r"; lower --num-nodes or take a smaller"):
        neural_cost.plan(config, cells, tasks)


def test_devices_share_the_slots(monkeypatch):
    """Each of eight needs a slot of eight, of nine up to two; data all of them."""

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
    assert needed(9, 8).models == 2 * needed(9, 1).models // 9
    assert needed(8, 8).data == needed(8, 1).data
