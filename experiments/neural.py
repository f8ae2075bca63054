"""The paper's image experiments: networks on images split by Dirichlet(α).

Every method trains the same model with the same recipe. "Same number of epochs" is
read in two ways: equally many *gradients*, so that TELEPORTATION does n/k times as many
rounds, and equally many *rounds*. Step sizes are chosen on validation images, with one
seed; what is reported is measured on test images. Each cell of the study is one Parquet
file, and ``python -m experiments.report FOLDER`` draws tables and figures from these.

    python -m experiments.neural
    python -m experiments.neural --preset medium --run results/medium --resume
"""

import dataclasses
import difflib
import functools
from typing import Annotated, Any, Literal

from experiments import command, machine, neural_cells, neural_cost, neural_data, report
from experiments.neural_cells import GRAPHS, Cell
from experiments.neural_recipe import Recipe
from experiments.results import Folder
from tele_jax.tasks import models

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "alphas": (0.1,),
        "graphs": ("ring",),
        "ablations": False,
        "augment": False,
        "epochs": 2,
        "tuning_epochs": 1,
        "num_seeds": 2,
        "rates": (0.1,),
    },
    "medium": {
        "alphas": (0.1, 10.0),
        "graphs": ("ring", "Base-2"),
        "ablations": True,
        "augment": False,
        "epochs": 15,
        "tuning_epochs": 1,
        "num_seeds": 3,
        "rates": (0.1, 0.03, 0.01),
    },
    "paper": {
        "alphas": (0.1, 1.0, 10.0),
        "graphs": ("ring", "exponential", "1-peer exponential", "Base-2"),
        "ablations": True,
        "augment": True,
        "epochs": 500,
        "tuning_epochs": 50,
        "num_seeds": 3,
        "rates": (0.1, 0.01, 0.001),
    },
}
"""The recipe of the authors' earlier study, and two that a laptop can do."""


_OF_PRESET = command.default("the preset's")


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the study."""

    preset: Literal["quick", "medium", "paper"] = "quick"
    """quick: minutes on a laptop. medium: an hour on two cores. paper: 500 epochs, for
    an accelerator."""
    dataset: Literal["digits", "fashion_mnist", "cifar10"] = "fashion_mnist"
    """Found in $TELE_JAX_DATA, or downloaded."""
    model: str = "lenet"
    """softmax, mlp, lenet, vgg11, resnet18, resnet20 or mixer."""
    num_nodes: int = 25
    """n."""
    num_active: int = 8
    """k of TELEPORTATION; 0: Algorithm 2 chooses it, on validation images."""
    alphas: Annotated[tuple[float, ...], _OF_PRESET] = ()
    """Concentrations of the Dirichlet splits."""
    graphs: Annotated[tuple[str, ...], _OF_PRESET] = ()
    """ring, exponential, 1-peer exponential, Base-2 or complete."""
    ablations: Annotated[bool | None, _OF_PRESET] = None
    """Also, on the first of the splits, k = 1, a random walk, and on the first of the
    graphs k = n, which is relabelled in every round, and momentum that stays at the
    nodes."""
    epochs: Annotated[int, _OF_PRESET] = 0
    """Passes of all nodes over their data, counted in gradients."""
    num_seeds: Annotated[int, _OF_PRESET] = 0
    """Runs of every cell."""
    rates: Annotated[tuple[float, ...], _OF_PRESET] = ()
    """Step sizes to choose from; a single one is taken as it is."""
    tuning_epochs: Annotated[int, _OF_PRESET] = 0
    """Epochs of every run that chooses a step size, or k."""
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    """How every method trains."""
    validation: float = 0.1
    """Share of the training images of all nodes held out to choose step sizes and k."""
    seeds_per_program: int = 0
    """Seeds that run at the same time; 0: as many as fit into memory, on a CPU one."""
    seed: int = 0
    """Decides the split of the data and every run."""


def resolve(config: Config) -> Config:
    """The preset written out."""
    preset = dict(PRESETS[config.preset])
    augment, ablations = preset.pop("augment"), preset.pop("ablations")
    chosen = {name: getattr(config, name) or value for name, value in preset.items()}
    if config.ablations is None:
        chosen["ablations"] = ablations
    if config.recipe.augment is None:
        chosen["recipe"] = dataclasses.replace(config.recipe, augment=augment)
    return dataclasses.replace(config, **chosen)


def check(config: Config) -> str:
    """Refuse what cannot run, before any work, and name the folder."""
    for name, least in (
        *(("num_nodes", 2), ("num_active", 0), ("epochs", 1)),
        *(("num_seeds", 1), ("tuning_epochs", 1), ("seeds_per_program", 0)),
    ):
        if (value := getattr(config, name)) < least:
            raise ValueError(f"got {name}={value}, expected at least {least}.")
    if config.num_active > config.num_nodes:
        raise ValueError(
            f"got num_active={config.num_active}, expected at most num_nodes="
            f"{config.num_nodes}."
        )
    for name in ("alphas", "rates"):
        if not all(0 < value < float("inf") for value in getattr(config, name)):
            raise ValueError(
                f"got {name}={getattr(config, name)}, expected positive numbers."
            )
    for name in ("alphas", "rates", "graphs"):
        values = getattr(config, name)
        if len(set(values)) < len(values):
            raise ValueError(f"got {name}={values}, expected each once.")
    _check_choices(config)
    config.recipe.check()
    return f"{config.preset}-{config.dataset}-{config.model}-n{config.num_nodes}"


def _check_choices(config: Config) -> None:
    for graph in config.graphs:
        if graph not in GRAPHS:
            close = difflib.get_close_matches(graph, GRAPHS, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"got graph {graph!r}, expected some of {', '.join(GRAPHS)}; did you "
                f"mean {close!r}?"
            )
    if not 0 < config.validation < 1:
        raise ValueError(
            f"got validation={config.validation}, expected a share between 0 and 1."
        )
    if config.num_active == 0 and (
        config.recipe.local_steps > 1 or config.recipe.slots_at_once
    ):
        raise ValueError(
            "got num_active=0 with local_steps or slots_at_once, which Algorithm 2 "
            "does not know; give num_active."
        )
    models.by_name(config.model, remat=config.recipe.remat)


def cells(config: Config) -> list[Cell]:
    """All cells of a resolved study, k = 0 where Algorithm 2 is to choose it."""
    n, k = config.num_nodes, config.num_active
    teleportation = functools.partial(Cell, "TELEPORTATION")
    found = []
    for alpha in config.alphas:
        found.append(Cell("All-reduce SGD", "complete", n, alpha))
        found += [
            Cell("DSGD", graph, n, alpha)
            for graph in config.graphs
            if graph != "complete"
        ]
        for graph in config.graphs:
            one = teleportation(graph, k, alpha, by_search=k == 0)
            found += [one, dataclasses.replace(one, reading="rounds")]
        if config.ablations and alpha == config.alphas[0]:
            first, main = config.graphs[0], {cell.label for cell in found}
            ablations = (
                teleportation("ring", 1, alpha),
                teleportation(first, n, alpha),
                teleportation(first, k, alpha, memory="node", by_search=k == 0),
            )
            found += [
                dataclasses.replace(cell, ablation=True)
                for cell in ablations
                if cell.label not in main
            ]
    return found


def run_study(config: Config, folder: Folder) -> None:
    """Train all cells, and write their tables and figures."""
    folder.refuse_other_tables(neural_cells.common(config))
    dataset, notes = neural_data.load(config.dataset)
    images = neural_data.images(config, dataset)
    tasks = {alpha: neural_data.tasks(config, images, alpha) for alpha in config.alphas}
    todo = cells(config)
    plan = neural_cost.plan(config, todo, tasks)
    print(neural_cost.text(config, plan))
    for number, cell in enumerate(todo, start=1):
        print(f"Cell {number} of {len(todo)}: {cell.label}, α={cell.alpha:g}")
        on, at_once = tasks[cell.alpha], plan.seeds_per_program
        neural_cells.run(config, cell, on, at_once, folder, notes)
    print(report.write(folder.path))


def main() -> None:
    """Entry point: flags are the fields of ``Config``."""
    machine.use_all_cores()
    command.run("neural", Config, check, run_study, __doc__, resolve)


if __name__ == "__main__":
    main()
