"""The cells of the neural study: one method on one split, all its seeds."""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import tele_jax as tele
from experiments import neural_runs
from experiments.results import Folder
from tele_jax.tasks import datasets, models, partition

if TYPE_CHECKING:
    from experiments.neural import Config
    from experiments.neural_cost import Plan

graphs = tele.graphs

GRAPHS: dict[str, Callable[[int], tele.Topology]] = {
    "ring": graphs.ring,
    "exponential": graphs.exponential,
    "1-peer exponential": graphs.one_peer_exponential,
    "Base-2": lambda k: graphs.base_graph(k, 1),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """A method on a split of the data."""

    method: Literal["All-reduce SGD", "DSGD", "TELEPORTATION"]
    graph: str
    num_active: int
    """Slots: n, or k; 0: Algorithm 2 is to choose."""
    alpha: float
    memory: Literal["token", "node"] = "token"
    """Where the momentum of TELEPORTATION is."""
    reading: Literal["gradients", "rounds"] = "gradients"
    """What TELEPORTATION does as many of as the others."""

    @property
    def label(self) -> str:
        """The method as tables and figures call it."""
        if self.method != "TELEPORTATION":
            return self.method + (f", {self.graph}" if self.method == "DSGD" else "")
        k = self.num_active or "by Algorithm 2"
        where = ", momentum at nodes" if self.memory == "node" else ""
        rounds = ", equal rounds" if self.reading == "rounds" else ""
        return f"TELEPORTATION, {self.graph}, k={k}{where}{rounds}"


class Tasks(NamedTuple):
    """What step sizes are chosen on, and what is reported; the same training part."""

    validation: tele.tasks.Classification
    test: tele.tasks.Classification


def load(name: str) -> tuple[datasets.Dataset, list[str]]:
    """The dataset, and what has to be said of every result that rests on it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        dataset = datasets.by_name(name)
    return dataset, [str(warning.message) for warning in caught]


def tasks(config: "Config", dataset: datasets.Dataset, alpha: float) -> Tasks:
    """The tasks of one split.

    Raises:
      ValueError: a class is owned by nobody, or the model does not take the images.
    """
    recipe = config.recipe
    split = datasets.holdout(dataset, config.validation, config.seed)
    owners = partition.dirichlet(
        split.train_labels, config.num_nodes, alpha, config.seed
    )
    counts = partition.label_counts(owners, split.train_labels, dataset.num_classes)
    if (counts.sum(0) == 0).any():
        raise ValueError(
            f"no node owns an example of class {counts.sum(0).argmin()} at α={alpha:g};"
            " choose a larger alpha or fewer nodes."
        )
    # The recipe pads 28 and 32 pixels by 4; the digits, of 8, in proportion.
    augment = tele.tasks.Augment(
        padding=dataset.train_inputs.shape[1] // 7, flip=config.dataset == "cifar10"
    )
    task: Any = tele.tasks.classification(
        split,
        owners,
        models.by_name(config.model, dataset.num_classes),
        batch_size=recipe.batch_size,
        epoch_key=jax.random.key(0) if recipe.sampling == "epochs" else None,
        augment=augment if recipe.augment else None,
    )
    test = task.replace(
        test_inputs=jnp.asarray(dataset.test_inputs),
        test_labels=jnp.asarray(dataset.test_labels, jnp.int32),
    )
    return Tasks(task, test)


def rounds_per_epoch(config: "Config", cell: Cell, task: Any) -> int:
    """As many gradients as every node going once over its data, or as many rounds."""
    size = int(task.sizes.min())
    steps = max(1, size // (config.recipe.batch_size * config.recipe.local_steps))
    if cell.reading == "rounds":
        return steps
    return max(1, round(steps * config.num_nodes / cell.num_active))


def build(config: "Config", cell: Cell, num_rounds: int) -> Callable[[Any], Any]:
    """Step size to algorithm."""
    recipe = config.recipe
    factors = jnp.asarray(recipe.factors(num_rounds))
    options = {
        "direction": recipe.direction(),
        "local_steps": recipe.local_steps,
        "slots_at_once": recipe.slots_at_once or None,
    }
    size = cell.num_active
    if cell.method == "TELEPORTATION":
        method: Any = functools.partial(tele.Teleportation, GRAPHS[cell.graph](size))
        options["memory"] = cell.memory
    elif cell.method == "DSGD":
        method = functools.partial(tele.DSGD, GRAPHS[cell.graph](size))
    else:
        method = functools.partial(tele.DSGD, graphs.complete(size))
    return lambda rate: method(rate * factors, **options)


def run(
    config: "Config",
    cell: Cell,
    on: Tasks,
    plan: "Plan",
    folder: Folder,
    label: str,
    notes: list[str],
) -> None:
    """Choose k and the step size, train all seeds, and keep the rows."""
    chosen = dataclasses.replace(cell, num_active=_active(config, cell, on, folder))
    rate = _rate(config, chosen, on, folder, label)
    deciding = ("dataset", "model", "num_nodes", "epochs", "num_seeds", "validation")
    key = {
        **{name: getattr(config, name) for name in (*deciding, "seed")},
        **dataclasses.asdict(config.recipe),
        **dataclasses.asdict(chosen),
        "label": chosen.label,
        "chosen_by": "given" if cell.num_active else "Algorithm 2",
        "rate": rate,
        "rates": config.rates,
        "notes": notes,
    }

    def compute() -> list[dict[str, Any]]:
        each = rounds_per_epoch(config, chosen, on.test)
        length = neural_runs.Length(config.epochs, each)
        method = build(config, chosen, length.num_rounds)
        seeds = np.arange(config.num_seeds) + 1_000_000 * (config.seed + 1)
        rows = []
        for first in range(0, len(seeds), plan.seeds_per_program):
            some = seeds[first : first + plan.seeds_per_program]
            name = f"{label}, seeds {some[0]} to {some[-1]}"
            rows += neural_runs.train(method, on.test, rate, some, length, name, folder)
        return rows

    folder.table(chosen.label, key, compute)


def _active(config: "Config", cell: Cell, on: Tasks, folder: Folder) -> int:
    """k: given, or that of Algorithm 2."""
    if cell.num_active:
        return cell.num_active

    def search() -> int:
        each = rounds_per_epoch(
            config, dataclasses.replace(cell, num_active=config.num_nodes), on.test
        )
        num_rounds = config.tuning_epochs * each
        best = (-np.inf, 0)
        for rate in config.rates:
            found = neural_runs.search(config, GRAPHS[cell.graph], on, rate, num_rounds)
            best = max(best, found)
        return best[1]

    name = f"k of Algorithm 2 on {cell.graph}, α={cell.alpha:g}"
    return folder.part(name, int, search)


def _rate(config: "Config", cell: Cell, on: Tasks, folder: Folder, label: str) -> float:
    """The step size with the best accuracy on validation images, one seed."""
    if len(config.rates) == 1:
        return config.rates[0]
    same = dataclasses.replace(cell, reading="gradients")

    def sweep() -> dict[float, float]:
        each = rounds_per_epoch(config, same, on.validation)
        length = neural_runs.Length(config.tuning_epochs, each)
        method = build(config, same, length.num_rounds)
        seeds = np.array([1000 * (config.seed + 1)])
        found = {}
        for rate in config.rates:
            name = f"{label}, step size {rate:g}"
            rows = neural_runs.train(
                method, on.validation, rate, seeds, length, name, folder
            )
            found[rate] = rows[-1]["accuracy"]
        return found

    name = f"step size of {same.label}, α={cell.alpha:g}"
    tried = folder.part(name, dict[float, float], sweep)
    return max(tried, key=lambda rate: np.nan_to_num(tried[rate], nan=-1.0))
