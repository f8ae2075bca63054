"""The cells of the neural study: one method on one split, all its seeds."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import jax.numpy as jnp
import numpy as np

import tele_jax as tele
from experiments import neural_runs
from experiments.neural_data import Tasks
from experiments.neural_recipe import CHANGE_NOTHING
from experiments.results import Folder, digest_of

if TYPE_CHECKING:
    from experiments.neural import Config

graphs = tele.graphs

GRAPHS: dict[str, Callable[[int], tele.Topology]] = {
    "ring": graphs.ring,
    "exponential": graphs.exponential,
    "1-peer exponential": graphs.one_peer_exponential,
    "Base-2": lambda k: graphs.base_graph(k, 1),
    "complete": graphs.complete,
}
"""On the complete graph DSGD is all-reduce SGD."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A method on a split of the data."""

    method: Literal["All-reduce SGD", "DSGD", "TELEPORTATION"]
    graph: str
    num_active: int
    """Slots: n, or k; 0 until Algorithm 2 has chosen."""
    alpha: float
    memory: Literal["token", "node"] = "token"
    """Where the momentum of TELEPORTATION is."""
    reading: Literal["gradients", "rounds"] = "gradients"
    """What TELEPORTATION does as many of as the others."""
    ablation: bool = False
    """Whether figures of curves leave it out."""
    by_search: bool = False
    """Whether Algorithm 2 chooses the slots."""

    @property
    def label(self) -> str:
        """The method as tables and figures call it."""
        if self.method != "TELEPORTATION":
            return self.method + (f", {self.graph}" if self.method == "DSGD" else "")
        k = f"k={self.num_active}" if self.num_active else "k"
        chosen = " by Algorithm 2" if self.by_search else ""
        where = ", momentum at nodes" if self.memory == "node" else ""
        rounds = ", equal rounds" if self.reading == "rounds" else ""
        return f"TELEPORTATION, {self.graph}, {k}{chosen}{where}{rounds}"


def rounds_per_epoch(config: "Config", cell: Cell, task: Any) -> int:
    """As many gradients as every node going once over its data, or as many rounds.

    What is left of a node's data after full batches counts for the next epoch.
    """
    steps = int(task.sizes.min()) // (
        config.recipe.batch_size * config.recipe.local_steps
    )
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
    method: Any = tele.DSGD
    if cell.method == "TELEPORTATION":
        method = tele.Teleportation
        options["memory"] = cell.memory
    topology = GRAPHS[cell.graph](size)
    return lambda rate: method(topology, rate * factors, **options)


def run(
    config: "Config",
    cell: Cell,
    on: Tasks,
    seeds_per_program: int,
    folder: Folder,
    notes: list[str],
) -> None:
    """Choose k and the step size, train all seeds, and keep the rows."""
    chosen = dataclasses.replace(cell, num_active=_active(config, cell, on, folder))
    rate = _rate(config, chosen, on, folder)
    key = {
        **common(config),
        **dataclasses.asdict(chosen),
        "rate": rate,
        "label": chosen.label,
        "notes": notes,
    }
    each = rounds_per_epoch(config, chosen, on.test)
    length = neural_runs.Length(config.epochs, each)
    method = build(config, chosen, length.num_rounds)
    name = f"{chosen.label}, α={cell.alpha:g}"
    run_name = f"{name}, {digest_of(key)}"
    groups = _groups(config, name, run_name, seeds_per_program)

    def compute() -> list[dict[str, Any]]:
        rows = []
        for group in groups:
            rows += neural_runs.train(method, on.test, rate, group, length, folder)
        return rows

    folder.table(name, key, compute)
    # Only now: until a cell is kept, its runs are what a killed study goes on from.
    folder.forget(run_name)


def _groups(
    config: "Config", label: str, name: str, seeds_per_program: int
) -> list[neural_runs.Group]:
    """The seeds of a cell, as many at a time as one program trains."""
    count = config.num_seeds
    groups = []
    for first in range(0, count, seeds_per_program):
        last = min(first + seeds_per_program, count)
        which = f"seed {last}" if last - first == 1 else f"seeds {first + 1} to {last}"
        told = f"{which} of {count}"
        seeds = np.arange(first, last) + 1_000_000 * (config.seed + 1)
        group = neural_runs.Group(seeds, f"{label}, {told}", f"{name}, {told}")
        groups.append(group)
    return groups


def common(config: "Config") -> dict[str, Any]:
    """What decides the numbers of all cells."""
    names = ("epochs", "num_seeds", "rates", "tuning_epochs")
    return {**_setting(config), **{name: getattr(config, name) for name in names}}


def _setting(config: "Config") -> dict[str, Any]:
    """What decides the numbers of a run, but its method, length and step size."""
    names = ("dataset", "model", "num_nodes", "validation", "seed")
    recipe = dataclasses.asdict(config.recipe)
    for name in CHANGE_NOTHING:
        del recipe[name]
    return {**{name: getattr(config, name) for name in names}, **recipe}


def _deciding(config: "Config", cell: Cell) -> dict[str, Any]:
    """What decides the numbers of a run of a cell, but its length and step size."""
    return {**_setting(config), **dataclasses.asdict(cell)}


def _active(config: "Config", cell: Cell, on: Tasks, folder: Folder) -> int:
    """k: given, or that of Algorithm 2."""
    if cell.num_active:
        return cell.num_active
    # One search for all cells of a graph and a split.
    of_all = Cell("TELEPORTATION", cell.graph, config.num_nodes, cell.alpha)
    num_rounds = config.tuning_epochs * rounds_per_epoch(config, of_all, on.test)
    key = {**_deciding(config, of_all), "rounds": num_rounds, "rates": config.rates}

    def search() -> int:
        found = [
            neural_runs.search(config, GRAPHS[cell.graph], on, rate, num_rounds)
            for rate in config.rates
        ]
        accuracy, k = max(found)
        if not np.isfinite(accuracy):
            raise ValueError(
                f"Algorithm 2 on {cell.graph}, α={cell.alpha:g}: every k diverged with "
                f"rates={config.rates}; give smaller ones."
            )
        return k

    name = f"k of Algorithm 2, {cell.graph}, α={cell.alpha:g}, {digest_of(key)}"
    return folder.part(name, int, search)


def _rate(config: "Config", cell: Cell, on: Tasks, folder: Folder) -> float:
    """The step size with the best accuracy on validation images, one seed.

    The cell of equal rounds takes that of equal gradients.
    """
    if len(config.rates) == 1:
        return config.rates[0]
    same = dataclasses.replace(
        cell, reading="gradients", ablation=False, by_search=False
    )
    each = rounds_per_epoch(config, same, on.validation)
    length = neural_runs.Length(config.tuning_epochs, each)
    method = build(config, same, length.num_rounds)
    seeds = np.array([1000 * (config.seed + 1)])
    key = {**_deciding(config, same), "epochs": config.tuning_epochs}
    label = f"step size of {same.label}, α={cell.alpha:g}"
    name = f"{label}, {digest_of(key)}"

    def try_out(rate: float) -> float:
        group = neural_runs.Group(seeds, f"{label}, {rate:g}", f"{name}, {rate:g}")
        rows = neural_runs.train(method, on.validation, rate, group, length, folder)
        last = rows[-1]
        # An accuracy can be told of NaNs too: all of them are called class 0.
        return last["accuracy"] if np.isfinite(last["test_loss"]) else -1.0

    tried = {}
    for rate in config.rates:
        own = f"{name}, {rate:g}"
        tried[rate] = folder.part(own, float, functools.partial(try_out, rate))
        folder.forget(own)
    return max(tried, key=lambda rate: tried[rate])
