"""TELEPORTATION, Decentralized SGD and all-reduce SGD on real images.

n nodes own images split by Dirichlet(α). Every method gets its own step size, chosen
in the same way: a sweep over a geometric grid on validation data, widened while the
best rate is on its edge. Then all methods train anew with several seeds, and what is
reported is measured on test images that were used for nothing before.

    python -m experiments.quickstart
    python -m experiments.quickstart --dataset fashion_mnist --model lenet \\
        --num-nodes 25 --alpha 0.1
"""

import dataclasses
import functools
import time
from typing import Any

import jax
import numpy as np
from rich.console import Console

import tele_jax as tele
from experiments import command, quickstart_report, tuning
from experiments.results import Folder
from tele_jax.tasks import datasets, models, partition


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the quickstart; the defaults take a minute or two on a laptop."""

    dataset: str = "digits"
    """digits (inside scikit-learn) or fashion_mnist (from $TELE_JAX_DATA, or
    downloaded)."""
    model: str = "mlp"
    """softmax, mlp or lenet."""
    num_nodes: int = 64
    """n, the number of nodes that own data."""
    num_active: int = 8
    """k, the number of nodes that TELEPORTATION activates in a round."""
    alpha: float = 0.1
    """Concentration of the Dirichlet split: small values give few labels per node."""
    batch_size: int = 8
    """Examples per node and round."""
    num_rounds: int = 400
    """Rounds of every method."""
    num_evals: int = 20
    """Evaluations of a run; divides num_rounds."""
    num_seeds: int = 5
    """Runs of every method, which differ in initial model and in all draws."""
    rates: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8)
    """Step sizes to begin the sweep with, increasing by equal factors."""
    num_sweep_seeds: int = 2
    """Runs per step size in the sweep."""
    validation_fraction: float = 0.2
    """Share of the training images held out to choose the step sizes."""
    seed: int = 0
    """Decides the split of the data and every run."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one method did."""

    name: str
    num_slots: int
    learning_rate: float
    tried: dict[float, float]
    """Step size to validation accuracy."""
    run: tele.Run
    """The final runs, seeds first."""
    seconds: float
    """Wall time of the final runs together, compilation included: of the process that
    ended them."""
    bytes_per_model: int


def methods(config: Config) -> dict[str, tuning.Build]:
    """Name to step size to algorithm."""
    n, k = config.num_nodes, config.num_active
    return {
        "DSGD, ring": lambda rate: tele.DSGD(tele.graphs.ring(n), rate),
        f"TELEPORTATION, k={k}": lambda rate: tele.Teleportation(
            tele.graphs.ring(k), rate
        ),
        "All-reduce SGD": lambda rate: tele.DSGD(tele.graphs.complete(n), rate),
    }


def observe(slots: Any, task: Any) -> tele.Metrics:
    """The standard metrics but the training objective, a pass over all images."""
    return {
        **tuning.mean_model(slots, task),
        **tele.metrics.each_slot(slots, task),
        **tele.metrics.consensus(slots, task),
    }


def make_tasks(config: Config) -> tuple[Any, Any]:
    """The task that step sizes are chosen on, and the task that is reported."""
    dataset = datasets.by_name(config.dataset)
    model = models.by_name(config.model, dataset.num_classes)
    split = datasets.holdout(dataset, config.validation_fraction, config.seed)
    owners = partition.dirichlet(
        split.train_labels, config.num_nodes, config.alpha, config.seed
    )
    tested = split._replace(
        test_inputs=dataset.test_inputs, test_labels=dataset.test_labels
    )
    validation_task, final_task = (
        tele.tasks.classification(part, owners, model, batch_size=config.batch_size)
        for part in (split, tested)
    )
    return validation_task, final_task


def run_method(
    config: Config, name: str, build: tuning.Build, tasks: Any, folder: Folder
) -> Outcome:
    """Choose the step size, then train with it from other seeds."""
    validation_task, final_task = tasks
    length = {"num_rounds": config.num_rounds, "num_evals": config.num_evals}
    seeds = np.arange(config.num_sweep_seeds) + 1000 * (config.seed + 1)
    sweep = functools.partial(tuning.sweep, build, validation_task, config.rates, seeds)
    sweep = functools.partial(sweep, **length, label=name, folder=folder)
    tried = folder.part(f"{name}, step sizes", dict[float, float], sweep)
    rate = max(tried, key=lambda rate: tried[rate])
    seeds = np.arange(config.num_seeds) + 1_000_000 * (config.seed + 1)
    began = time.perf_counter()
    run = tuning.train(
        build,
        final_task,
        np.full(len(seeds), rate, np.float32),
        seeds,
        **length,
        observe=observe,
        label=f"{name}, {len(seeds)} seeds",
        folder=folder,
    )
    took = time.perf_counter() - began
    seconds = folder.part(f"{name}, seconds", float, lambda: took)
    slots = jax.tree.map(lambda leaf: leaf[0], run.state.params)
    return Outcome(
        name=name,
        num_slots=tele.tree.num_slots(slots),
        learning_rate=rate,
        tried=tried,
        run=run,
        seconds=seconds,
        bytes_per_model=tele.tree.num_bytes(tele.tree.average(slots)),
    )


def check(config: Config) -> str:
    """Refuse what cannot run, before any work, and name the folder."""
    for name in ("num_seeds", "num_sweep_seeds", "num_evals", "num_rounds"):
        if (value := getattr(config, name)) < 1:
            raise ValueError(f"got {name}={value}, expected at least 1.")
    if config.num_rounds % config.num_evals:
        raise ValueError(
            f"num_evals={config.num_evals} must divide num_rounds={config.num_rounds}."
        )
    if not 1 <= config.num_active <= config.num_nodes:
        raise ValueError(
            f"got num_active={config.num_active}, expected 1 <= num_active <= "
            f"num_nodes = {config.num_nodes}."
        )
    rates = np.asarray(config.rates)
    factors = rates[1:] / rates[:-1]
    grows = np.isfinite(factors).all() and (rates > 0).all() and (factors > 1).all()
    if len(rates) < 2 or not grows or not np.allclose(factors, factors[0]):
        raise ValueError(
            f"got rates={config.rates}, expected at least 2 positive step sizes that "
            "grow by equal factors, such as 0.1 0.2 0.4."
        )
    return f"{config.dataset}-{config.model}-n{config.num_nodes}"


def run_study(config: Config, folder: Folder) -> None:
    """Train all methods and write their tables and figures."""
    tasks = make_tasks(config)
    outcomes = [
        run_method(config, name, build, tasks, folder)
        for name, build in methods(config).items()
    ]
    quickstart_report.write(folder.path, config, outcomes, tasks[1])
    # Wide enough for the table, whatever the terminal or the log.
    console = Console(width=max(90, Console().width))
    console.print(quickstart_report.table(outcomes))


def main() -> None:
    """Entry point: flags are the fields of ``Config``."""
    command.run("quickstart", Config, check, run_study, __doc__)


if __name__ == "__main__":
    main()
