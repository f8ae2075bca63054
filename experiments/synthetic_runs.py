"""The programs of the synthetic study: every one runs a whole sweep at once.

An axis of step sizes, one of noise levels and one of seeds are nested ``vmap``: what
changes the number of nodes or of slots is a program, everything else a number.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tele_jax as tele
from tele_jax.compilations import count_compilations

graphs = tele.graphs
Build = Callable[[int], tele.Topology]

GRAPHS: dict[str, Build] = {
    "ring": graphs.ring,
    "exponential": graphs.exponential,
    "1-peer exponential": graphs.one_peer_exponential,
    "Base-2": lambda k: graphs.base_graph(k, 1),
    "complete": graphs.complete,
}
"""Those of Decentralized SGD; on the complete one it is all-reduce SGD."""
TOKEN_GRAPHS = ("ring", "exponential", "Base-2")
"""Those of TELEPORTATION."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What one program varies, and how long it runs."""

    noise: tuple[tuple[float, float], ...]
    """(σ², ζ²) of every cell."""
    rates: tuple[float, ...]
    """Step sizes times L."""
    seeds: tuple[int, ...]
    num_rounds: int
    eval_every: int
    dim: int
    target: float
    """A run has arrived when ‖∇f(x̄)‖² is at most this."""

    @property
    def num_evals(self) -> int:
        """Evaluations of a run, the start counted."""
        return self.num_rounds // self.eval_every + 1


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a sweep found for some numbers of active nodes; axes [seed, cell, rate]."""

    arrivals: np.ndarray
    """float64[k, s, c, r]: rounds until the target, infinite where it was missed."""
    scores: np.ndarray
    """float64[k, s, c, r]: minus the last ‖∇f(x̄)‖², NaN where a run diverged."""
    compiled: int
    """Programs that were compiled for it."""


def task_of(num_nodes: int, dim: int, sigma2: Any, zeta2: Any, unit: float) -> Any:
    """Least squares with A_i = (i/n) I, so that L = 1, and ζ² at x* as it is asked for.

    The published b_i ~ N(0, ζ²/i² I) would make the differences at x* vanish like n⁻²
    in this scaling, so they are multiplied by a constant: ``unit`` is ζ² at x* without
    it. The data are the same in all runs.
    """
    return tele.tasks.least_squares(
        jax.random.key(0),
        num_nodes=num_nodes,
        dim=dim,
        heterogeneity=jnp.sqrt(zeta2 / unit),
        noise=jnp.sqrt(sigma2),
    )


def constants_of(
    num_nodes: int, dim: int, sigma2: float, zeta2: float
) -> tele.theory.Constants:
    """L, r₀, σ² and ζ² of a cell, from the start x⁰ = 𝟏."""
    task = task_of(num_nodes, dim, sigma2, zeta2, unit_zeta2(num_nodes, dim))
    return tele.theory.exact_constants(task, jnp.ones(dim))


@functools.cache
def unit_zeta2(num_nodes: int, dim: int) -> float:
    """ζ² at x* of the published b_i with ζ = 1."""
    task = task_of(num_nodes, dim, 0.0, 1.0, 1.0)
    return tele.theory.exact_constants(task, jnp.ones(dim)).zeta2


def dsgd(sweep: Sweep, build: Build, num_nodes: int) -> Measured:
    """Decentralized SGD on one topology."""

    def run(task: Any, params: Any, key: Any, rate: Any) -> tuple[Any, Any]:
        done = tele.simulate(
            tele.DSGD(topology, rate),
            task,
            params,
            key,
            num_rounds=sweep.num_rounds,
            eval_every=sweep.eval_every,
            observe=tele.metrics.mean_model,
        )
        metrics = done.metrics
        squares = metrics["grad_norm_sq"]
        return squares[None], -squares[None, -1]

    topology = build(num_nodes)
    return _sweep(run, sweep, num_nodes)


def teleportation(
    sweep: Sweep,
    build: Build,
    num_nodes: int,
    candidates: Sequence[int] | None = None,
) -> Measured:
    """TELEPORTATION with many k at the same time: by default those of Algorithm 2."""

    def run(task: Any, params: Any, key: Any, rate: Any) -> tuple[Any, Any]:
        found = tele.search(
            build,
            task,
            params,
            key,
            rate,
            num_rounds=sweep.num_rounds,
            eval_every=sweep.eval_every,
            candidates=candidates,
            score=_minus_square,
        )
        return found.metrics["grad_norm_sq"], found.scores

    return _sweep(run, sweep, num_nodes)


def _minus_square(model: Any, task: Any) -> jax.Array:
    """−‖∇f(x̄)‖²: of f(x̄), near a large f*, float32 would show the first digits only."""
    return -tele.tree.squared_norm(task.gradient(model))


def _sweep(
    run: Callable[..., tuple[Any, Any]], sweep: Sweep, num_nodes: int
) -> Measured:
    """Run over seeds × cells × step sizes in one program."""

    unit = unit_zeta2(num_nodes, sweep.dim)

    def one(seed: Any, cell: Any, rate: Any) -> tuple[Any, Any]:
        task = task_of(num_nodes, sweep.dim, cell[0], cell[1], unit)
        return run(task, jnp.ones(sweep.dim), jax.random.key(seed), rate)

    over_rates = jax.vmap(one, (None, None, 0))
    over_cells = jax.vmap(over_rates, (None, 0, None))
    program = jax.jit(jax.vmap(over_cells, (0, None, None)))
    cells, rates = (np.array(part, np.float32) for part in (sweep.noise, sweep.rates))
    with count_compilations() as compiled:
        squares, scores = program(np.array(sweep.seeds), cells, rates)
    below = np.moveaxis(np.asarray(squares), 3, 0) <= sweep.target
    rounds = np.arange(sweep.num_evals) * float(sweep.eval_every)
    arrivals = np.where(below.any(-1), rounds[below.argmax(-1)], np.inf)
    scores = np.moveaxis(np.asarray(scores, np.float64), 3, 0)
    return Measured(arrivals, scores, len(compiled))
