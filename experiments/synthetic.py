"""How many rounds TELEPORTATION and Decentralized SGD need as the nodes get more.

Least squares on n nodes (Sec. 5.1 of the paper). Every method has the best step size of
one grid in every cell, and is measured by the rounds, gradients and messages until
‖∇f(x̄)‖² reaches a target. The number k of active nodes is chosen in three ways: the
best of all candidates, Algorithm 2, and theory.

    python -m experiments.synthetic
    python -m experiments.synthetic --preset full
"""

import dataclasses
import functools
from typing import Any, Literal

import numpy as np
from tqdm.auto import tqdm

from experiments import command, synthetic_cells, synthetic_report
from experiments.results import Folder
from experiments.synthetic_cells import Job, Outcome
from experiments.synthetic_runs import GRAPHS, TOKEN_GRAPHS, Sweep

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"sizes": (8, 32, 128), "num_rounds": 500, "large": ()},
    "full": {
        "sizes": tuple(2**j for j in range(1, 11)),
        "num_rounds": 1000,
        "large": (2**14, 2**17),
    },
}
"""n, T, and the n at which only TELEPORTATION runs, with few k."""
FEW = (8, 32, 128)
"""These k."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the study."""

    preset: Literal["quick", "full"] = "quick"
    """quick: n = 8, 32, 128 and T = 500, in minutes. full: n = 2, 4, … 1024, for
    TELEPORTATION also 2^14 and 2^17, and T = 1000, within an hour."""
    sizes: tuple[int, ...] = ()
    """Numbers n of nodes; none: those of the preset."""
    num_rounds: int = 0
    """T; 0: that of the preset."""
    noise: tuple[tuple[float, float], ...] = ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    """Cells (σ², ζ²): gradient noise, and differences between nodes at x*."""
    rates: tuple[float, ...] = (0.8, 0.4, 0.2, 0.1, 0.075, 0.05, 0.025, 0.01, 0.0075)
    """Step sizes times L: the paper's grid from 0.1 down to what reaches the target
    within T, and three larger ones, which are ours."""
    num_seeds: int = 5
    """Runs of everything."""
    dim: int = 50
    """d, the number of parameters."""
    target: float = 2e-3
    """A run has arrived when ‖∇f(x̄)‖² is at most this."""
    eval_every: int = 5
    """Rounds between evaluations; divides T."""
    seed: int = 0
    """Decides the runs; the data are always the same."""


def resolve(config: Config) -> Config:
    """The preset written out."""
    preset = PRESETS[config.preset]
    return dataclasses.replace(
        config,
        sizes=config.sizes or preset["sizes"],
        num_rounds=config.num_rounds or preset["num_rounds"],
    )


def check(config: Config) -> str:
    """Refuse what cannot run, before any work, and name the folder."""
    for name, least in (("num_rounds", 1), ("num_seeds", 2), ("dim", 1), ("seed", 0)):
        if (value := getattr(config, name)) < least:
            raise ValueError(f"got {name}={value}, expected at least {least}.")
    if config.eval_every < 1 or config.num_rounds % config.eval_every:
        raise ValueError(
            f"eval_every={config.eval_every} must divide num_rounds="
            f"{config.num_rounds}."
        )
    if min(config.sizes) < 2 or len(set(config.sizes)) < len(config.sizes):
        raise ValueError(f"got sizes={config.sizes}, expected distinct numbers >= 2.")
    cells = np.asarray(config.noise, float)
    if not len(cells) or not (cells >= 0).all():
        raise ValueError(
            f"got noise={config.noise}, expected pairs of variances that are not "
            "negative."
        )
    rates = np.asarray(config.rates, float)
    if not len(rates) or not (rates > 0).all():
        raise ValueError(f"got rates={config.rates}, expected positive step sizes.")
    if not config.target > 0:
        raise ValueError(f"got target={config.target}, expected a positive number.")
    return config.preset


def jobs(config: Config) -> list[Job]:
    """All programs of the study."""
    found = []
    for n in config.sizes:
        found += [Job("DSGD", graph, n) for graph in GRAPHS]
        found += [Job("TELEPORTATION", graph, n) for graph in TOKEN_GRAPHS]
    preset = PRESETS[config.preset]
    large = preset["large"] if config.sizes == preset["sizes"] else ()
    return found + [Job("TELEPORTATION", "ring", n, FEW) for n in large]


def study(config: Config, folder: Folder) -> list[Outcome]:
    """Run all programs, one after the other."""
    sweep = Sweep(
        noise=config.noise,
        rates=config.rates,
        seeds=tuple(range(config.seed, config.seed + config.num_seeds)),
        num_rounds=config.num_rounds,
        eval_every=config.eval_every,
        dim=config.dim,
        target=config.target,
    )
    outcomes = []
    with tqdm(jobs(config), dynamic_ncols=True, disable=not folder.progress) as bar:
        for job in bar:
            name = f"{job.label}, n={job.num_nodes}"
            bar.set_description(name)
            run = functools.partial(synthetic_cells.run, sweep, job)
            outcomes.append(folder.part(name, Outcome, run))
    return outcomes


def run_study(config: Config, folder: Folder) -> None:
    """Run all programs and write their tables and figures."""
    outcomes = study(config, folder)
    rows = [row for outcome in outcomes for row in outcome.rows]
    choices = [choice for outcome in outcomes for choice in outcome.choices]
    compiled = sum(outcome.compiled for outcome in outcomes)
    text = synthetic_report.text(config, rows, choices)
    text += (
        f"\n{len(outcomes)} sweeps, {compiled} programs compiled for them; small array "
        "operations outside of sweeps are not counted.\n"
    )
    print(text)
    synthetic_report.write(folder.path, config, rows, choices, text)


def main() -> None:
    """Entry point: flags are the fields of ``Config``."""
    command.run("synthetic", Config, check, run_study, __doc__, resolve)


if __name__ == "__main__":
    main()
