"""The cells of the neural study: what its presets and flags ask for."""

import dataclasses

import pytest

from experiments import neural, neural_cells
from experiments.neural_recipe import Recipe


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


@pytest.mark.parametrize("num_active", [0, 1, 3, 6])
def test_no_two_cells_of_a_split_have_one_name(num_active):
    """Also where k = 1, k = n or Algorithm 2's choice is that of an ablation."""
    config = neural.resolve(
        neural.Config(num_nodes=6, num_active=num_active, ablations=True)
    )
    for chosen in (1, 2, 4, 6):
        labels = [
            dataclasses.replace(cell, num_active=cell.num_active or chosen).label
            for cell in neural.cells(config)
        ]
        assert len(set(labels)) == len(labels)
    ablated = [cell.label for cell in neural.cells(config) if cell.ablation]
    assert len(ablated) == (2 if num_active in (1, 6) else 3)


def test_dsgd_on_the_complete_graph_is_all_reduce():
    config = neural.resolve(neural.Config(graphs=("ring", "complete")))
    methods = [(cell.method, cell.graph) for cell in neural.cells(config)]
    assert methods.count(("DSGD", "complete")) == 0
    assert methods.count(("All-reduce SGD", "complete")) == 1
    assert methods.count(("TELEPORTATION", "complete")) == 2
