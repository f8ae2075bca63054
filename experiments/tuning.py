"""Training a method from several seeds, and choosing its step size."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tele_jax as tele
from experiments.results import Folder
from tele_jax import driver

Build = Callable[[jax.Array], Any]
"""Step size to algorithm."""


def mean_model(slots: Any, task: Any) -> tele.Metrics:
    """An ``observe``: what the task measures of the mean model."""
    return task.evaluate(tele.tree.average(slots))


def train(
    build: Build,
    task: tele.tasks.Classification,
    rates: np.ndarray,
    seeds: np.ndarray,
    *,
    num_rounds: int,
    num_evals: int,
    observe: Callable[..., tele.Metrics],
    label: str,
    folder: Folder,
) -> tele.Run:
    """One run per (step size, seed) pair, all in one program; runs [pairs, ...].

    It is kept in the folder under its label, and goes on from there.

    Raises:
      KeyboardInterrupt: Ctrl-C stopped it before the last round.
    """
    params, run_keys = _starts(task, seeds)

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
        num_rounds=num_rounds,
        rounds_per_chunk=num_rounds // num_evals,
        label=label,
        directory=folder.directory(label, (task, jnp.asarray(rates), run_keys)),
        progress=folder.progress,
    )
    if int(run.rounds[0, -1]) < num_rounds:
        raise KeyboardInterrupt
    return run


def _starts(task: tele.tasks.Classification, seeds: np.ndarray) -> tuple[Any, Any]:
    """The initial model and the key of every run, leaves [seeds, ...]."""
    model: Any = task.model

    def start(seed: jax.Array) -> tuple[Any, Any]:
        start_key, run_key = jax.random.split(jax.random.key(seed))
        return model.init(start_key, task.inputs[:1]), run_key

    # XLA takes seconds to compile random numbers of small shapes: 11 s for a LeNet's.
    quickly = {"xla_backend_optimization_level": 1}
    return jax.jit(jax.vmap(start), compiler_options=quickly)(jnp.asarray(seeds))


def sweep(
    build: Build,
    task: tele.tasks.Classification,
    rates: Sequence[float],
    seeds: np.ndarray,
    *,
    num_rounds: int,
    num_evals: int,
    label: str,
    folder: Folder,
) -> dict[float, float]:
    """Accuracy of every step size; the best of them is inside the grid.

    The score is the accuracy of the mean model on the task's test part, averaged over
    the seeds and the last quarter of the evaluations.

    Args:
      build: step size to algorithm.
      task: its test part should be validation data.
      rates: the grid to begin with, growing by equal factors. While the best rate is
        on an edge, two more are tried beyond it.
      seeds: int[s], runs per step size.
      num_rounds: rounds of every run.
      num_evals: evaluations of every run.
      label: what to write before the progress bar.
      folder: where the runs are kept.
    """
    factor = rates[1] / rates[0]
    tried: dict[float, float] = {}
    new = list(rates)
    while new:
        run = train(
            build,
            task,
            np.repeat(np.array(new, np.float32), len(seeds)),
            np.tile(seeds, len(new)),
            num_rounds=num_rounds,
            num_evals=num_evals,
            observe=mean_model,
            label=f"{label}, {len(new)} step sizes from {new[0]:g}",
            folder=folder,
        )
        accuracy = np.asarray(run.metrics["accuracy"]).reshape(len(new), len(seeds), -1)
        scores = accuracy[:, :, -max(1, num_evals // 4) :].mean(axis=(1, 2))
        tried |= {rate: float(score) for rate, score in zip(new, scores, strict=True)}
        best = max(tried, key=lambda rate: tried[rate])
        above = [best * factor, best * factor**2] if best == max(tried) else []
        below = [best / factor, best / factor**2] if best == min(tried) else []
        new = above + below
    return {rate: tried[rate] for rate in sorted(tried)}
