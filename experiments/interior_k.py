"""Is there a best number of active nodes between 1 and n? Logistic regression says.

Theory has it that slots that disagree slow TELEPORTATION down when k is large, so that
the best k is small. Least squares cannot show it: nodes are drawn anew in every round,
so that on average the mean of the slots moves as if they agreed. Here the curvature
changes with x, and it can matter. Every setting is run with all k of Algorithm 2 and a
grid of step sizes; the excess f(x̄) − f* after T rounds is that of the best step size.

    python -m experiments.interior_k
    python -m experiments.interior_k --num-nodes 64
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize
from tqdm.auto import tqdm

import tele_jax as tele
from experiments import command, interior_k_report
from experiments.interior_k_report import Curve
from experiments.results import Folder

TOPOLOGIES: dict[str, Callable[[int], tele.Topology]] = {
    "ring": tele.graphs.ring,
    "chain": tele.graphs.chain,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the scan; the defaults take a few minutes on a laptop."""

    num_nodes: int = 1024
    """n."""
    heterogeneity: tuple[float, ...] = (0.3, 3.0, 30.0)
    """ζ: how far the parameters of the nodes' labels lie apart. With 30 most nodes have
    labels of their own."""
    batch_size: tuple[int, ...] = (1, 8)
    """Examples per node and round, of 8 that it owns; 8 are drawn with replacement."""
    rounds: tuple[int, ...] = (25, 100, 400)
    """Horizons T, multiples of the first."""
    rates: tuple[float, ...] = tuple(2.0**j for j in range(-3, 6))
    """Step sizes; up to 8 is stable (L ≈ ¼)."""
    num_seeds: int = 6
    """Runs of everything."""
    dim: int = 10
    """d."""
    l2: float = 1e-3
    """λ."""
    seed: int = 0
    """Decides the runs; the data are always the same."""


def curves(config: Config, graph: str, heterogeneity: float, batch: int) -> list[Curve]:
    """One curve per horizon, in one setting."""
    task = tele.tasks.logistic_regression(
        jax.random.key(0),
        num_nodes=config.num_nodes,
        dim=config.dim,
        samples_per_node=8,
        heterogeneity=heterogeneity,
        l2=config.l2,
        batch_size=batch,
    )
    bottom = least(task)
    excess = losses(config, task, TOPOLOGIES[graph]) - bottom
    constants, _ = tele.theory.sampled_constants(
        task, jnp.zeros(config.dim), jax.random.key(1), least=bottom
    )
    ks = sum(tele.plan_waves(config.num_nodes), ())
    found = []
    for num_rounds in config.rounds:
        last = excess[..., num_rounds // config.rounds[0]]
        best = np.nan_to_num(last.mean(axis=0), nan=np.inf).argmin(axis=0)
        of_best = last[:, best, np.arange(len(ks))]
        theory = tele.theory.best_k(
            constants,
            TOPOLOGIES[graph],
            num_nodes=config.num_nodes,
            num_rounds=num_rounds,
            candidates=ks,
        )
        error = of_best.std(axis=0, ddof=1) / config.num_seeds**0.5
        setting = (graph, heterogeneity, batch, num_rounds)
        rate = np.array(config.rates)[best]
        found.append(
            Curve(*setting, ks, of_best.mean(axis=0), error, rate, theory.num_slots)
        )
    return found


def losses(config: Config, task: Any, build: Any) -> np.ndarray:
    """f(x̄) of all runs in one program, [seed, rate, k, evaluation]."""

    def one(task: Any, seed: Any, rate: Any) -> Any:
        found = tele.search(
            build,
            task,
            jnp.zeros(config.dim),
            jax.random.key(seed),
            rate,
            num_rounds=config.rounds[-1],
            eval_every=config.rounds[0],
        )
        return found.metrics["loss"]

    over_rates = jax.vmap(one, (None, None, 0))
    program = jax.jit(jax.vmap(over_rates, (None, 0, None)))
    seeds = config.seed + np.arange(config.num_seeds)
    rates = np.array(config.rates, np.float32)
    return np.asarray(program(task, seeds, rates), np.float64)


def least(task: tele.tasks.LogisticRegression) -> float:
    """f*, by L-BFGS on the exact objective."""
    both = jax.jit(jax.value_and_grad(task.objective))

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = both(jnp.asarray(x, jnp.float32))
        return float(value), np.asarray(gradient, np.float64)

    start = np.zeros(task.features.shape[-1])
    return float(minimize(evaluate, start, jac=True, method="L-BFGS-B").fun)


def check(config: Config) -> str:
    """Refuse what cannot run, before any work, and name the folder."""
    if config.num_nodes < 2 or config.num_seeds < 2:
        raise ValueError(
            f"got num_nodes={config.num_nodes} and num_seeds={config.num_seeds}, "
            "expected at least 2 of each."
        )
    first, *_ = rounds = config.rounds or (0,)
    if (
        first < 1
        or sorted(set(rounds)) != list(rounds)
        or any(t % first for t in rounds)
    ):
        raise ValueError(
            f"got rounds={config.rounds}, expected increasing multiples of the first."
        )
    positive = (*config.heterogeneity, *config.batch_size, *config.rates)
    if not (config.heterogeneity and config.batch_size and config.rates):
        raise ValueError("got an empty grid, expected at least one value of each.")
    if min(positive) <= 0:
        raise ValueError("got a number that is not positive among the grids.")
    return f"n{config.num_nodes}"


def run_study(config: Config, folder: Folder) -> None:
    """Scan all settings and write their table and figure."""
    settings = itertools.product(TOPOLOGIES, config.heterogeneity, config.batch_size)
    found = []
    with tqdm(
        list(settings), desc="settings", dynamic_ncols=True, disable=not folder.progress
    ) as bar:
        for setting in bar:
            graph, heterogeneity, batch = setting
            name = f"{graph}, heterogeneity {heterogeneity}, batch {batch}"
            scan = functools.partial(curves, config, *setting)
            found += folder.part(name, list[Curve], scan)
    print(interior_k_report.table(found))
    interior_k_report.write(folder.path, config, found)


def main() -> None:
    """Entry point: flags are the fields of ``Config``."""
    command.run("interior_k", Config, check, run_study, __doc__)


if __name__ == "__main__":
    main()
