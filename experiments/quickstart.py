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
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console

import tele_jax as tele
from experiments import quickstart_report, results
from tele_jax import driver
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
    results: Path = Path("results/quickstart")
    """Folder to make the folder of this run in."""


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
    """Wall time of the final runs together, compilation included."""
    bytes_per_model: int


Build = Callable[[jax.Array], Any]


def methods(config: Config) -> dict[str, Build]:
    """Name to step size to algorithm."""
    n, k = config.num_nodes, config.num_active
    return {
        "DSGD, ring": lambda rate: tele.DSGD(tele.graphs.ring(n), rate),
        f"TELEPORTATION, k={k}": lambda rate: tele.Teleportation(
            tele.graphs.ring(k), rate
        ),
        "All-reduce SGD": lambda rate: tele.DSGD(tele.graphs.complete(n), rate),
    }


def observe(slots: Any, task: tele.tasks.Task) -> tele.Metrics:
    """The standard metrics but the training objective, a pass over all images."""
    mean = task.evaluate(tele.tree.average(slots))  # type: ignore[attr-defined]
    return {
        **mean,
        **tele.metrics.each_slot(slots, task),
        **tele.metrics.consensus(slots, task),
    }


def observe_mean(slots: Any, task: tele.tasks.Task) -> tele.Metrics:
    """What the sweep looks at: the mean model on validation data."""
    return task.evaluate(tele.tree.average(slots))  # type: ignore[attr-defined]


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
    tuning, final = (
        tele.tasks.classification(part, owners, model, batch_size=config.batch_size)
        for part in (split, tested)
    )
    return tuning, final


def train(
    config: Config,
    build: Build,
    task: Any,
    rates: np.ndarray,
    seeds: np.ndarray,
    observe: Callable[..., tele.Metrics],
    label: str,
) -> tele.Run:
    """One run per (step size, seed) pair, all in one program."""
    start_keys, run_keys = jax.vmap(
        lambda seed: jax.random.split(jax.random.key(seed)), out_axes=1
    )(jnp.asarray(seeds))
    example = jnp.zeros((1, *task.inputs.shape[1:]))
    params = jax.vmap(lambda key: task.model.init(key, example))(start_keys)

    def chunk(num_rounds: int, resume: tele.Run | None) -> tele.Run:
        def one(rate: Any, params: Any, key: Any, resume: Any) -> tele.Run:
            return tele.simulate(
                build(rate),
                task,
                params,
                key,
                num_rounds=num_rounds,
                observe=observe,
                resume=resume,
            )

        return jax.vmap(one)(jnp.asarray(rates), params, run_keys, resume)

    run = driver.drive(
        chunk,
        num_rounds=config.num_rounds,
        rounds_per_chunk=config.num_rounds // config.num_evals,
        label=label,
    )
    if int(run.rounds[0, -1]) < config.num_rounds:
        raise KeyboardInterrupt
    return run


def sweep(config: Config, build: Build, task: Any, name: str) -> dict[float, float]:
    """Validation accuracy of every step size; the best is inside the grid.

    The score is the accuracy of the mean model, averaged over the seeds and the last
    quarter of the evaluations.
    """
    factor = config.rates[1] / config.rates[0]
    seeds = np.arange(config.num_sweep_seeds) + 1000 * (config.seed + 1)
    tried: dict[float, float] = {}
    new = list(config.rates)
    while new:
        run = train(
            config,
            build,
            task,
            np.repeat(np.array(new, np.float32), len(seeds)),
            np.tile(seeds, len(new)),
            observe_mean,
            f"{name}, {len(new)} step sizes",
        )
        accuracy = np.asarray(run.metrics["accuracy"]).reshape(len(new), len(seeds), -1)
        last = max(1, config.num_evals // 4)
        tried |= dict(zip(new, accuracy[:, :, -last:].mean(axis=(1, 2)), strict=True))
        best = max(tried, key=lambda rate: tried[rate])
        above = [best * factor, best * factor**2] if best == max(tried) else []
        below = [best / factor, best / factor**2] if best == min(tried) else []
        new = above + below
    return {rate: float(tried[rate]) for rate in sorted(tried)}


def run_method(config: Config, name: str, build: Build, tasks: Any) -> Outcome:
    """Choose the step size, then train with it from other seeds."""
    tuning, final = tasks
    tried = sweep(config, build, tuning, name)
    rate = max(tried, key=lambda rate: tried[rate])
    seeds = np.arange(config.num_seeds) + 1_000_000 * (config.seed + 1)
    began = time.perf_counter()
    run = train(
        config,
        build,
        final,
        np.full(len(seeds), rate, np.float32),
        seeds,
        observe,
        f"{name}, {len(seeds)} seeds",
    )
    seconds = time.perf_counter() - began
    one_model = jax.tree.map(lambda leaf: leaf[0, 0], run.state.params)
    return Outcome(
        name=name,
        num_slots=tele.tree.num_slots(jax.tree.map(lambda x: x[0], run.state.params)),
        learning_rate=rate,
        tried=tried,
        run=run,
        seconds=seconds,
        bytes_per_model=tele.tree.num_bytes(one_model),
    )


def check(config: Config) -> None:
    """Refuse what cannot run, before any work."""
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
    if len(rates) < 2 or (rates <= 0).any() or (np.diff(rates) <= 0).any():
        raise ValueError(
            f"got rates={config.rates}, expected at least 2 positive step sizes in "
            "increasing order."
        )


def run_study(config: Config, console: Console) -> None:
    """Train all methods and write their folder."""
    check(config)
    tasks = make_tasks(config)
    name = f"{config.dataset}-{config.model}-n{config.num_nodes}"
    final = results.new_folder(config.results, name)
    with results.writing(final, config) as folder:
        outcomes = [
            run_method(config, name, build, tasks)
            for name, build in methods(config).items()
        ]
        quickstart_report.write(folder, config, outcomes, tasks[1])
        console.print(quickstart_report.table(outcomes))
    print(f"Written to {final}")


def main() -> None:
    """Entry point: flags are the fields of ``Config``."""
    config = tyro.cli(Config, description=__doc__)
    try:
        # Wide enough for the table, whatever the terminal or the log.
        run_study(config, Console(width=max(90, Console().width)))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"quickstart: {error}")
    except KeyboardInterrupt:
        sys.exit("quickstart: interrupted; nothing was written.")


if __name__ == "__main__":
    main()
