"""What the synthetic study makes of its runs: one row per method, n, k and cell."""

import dataclasses
from typing import NamedTuple

import numpy as np

import tele_jax as tele
from experiments import synthetic_runs
from experiments.synthetic_runs import GRAPHS, Measured, Sweep


class Job(NamedTuple):
    """One compiled program of the study."""

    method: str
    """DSGD or TELEPORTATION."""
    graph: str
    num_nodes: int
    candidates: tuple[int, ...] | None = None
    """Numbers k for TELEPORTATION; None: those of Algorithm 2."""

    @property
    def label(self) -> str:
        """The method as the figures call it."""
        if self.graph == "complete" and self.method == "DSGD":
            return "All-reduce SGD"
        return f"{self.method}, {self.graph}"


@dataclasses.dataclass(frozen=True)
class Row:
    """A method in a cell, with the best step size of the grid."""

    label: str
    graph: str
    num_nodes: int
    num_active: int
    sigma2: float
    zeta2: float
    rate: float
    """The step size, times L; NaN if no step size reached the target."""
    rounds: float
    """Median over the seeds until the target; infinite: not within T."""
    rounds_min: float
    rounds_max: float
    """Of the fastest and of the slowest seed."""
    missed: int
    """Seeds that did not reach the target."""
    messages_per_round: float
    """Models sent, in expectation; of TELEPORTATION in the merged form, of all-reduce
    as every node to every other."""

    @property
    def gradients(self) -> float:
        """Gradients of all nodes together until the target."""
        return self.rounds * self.num_active

    @property
    def messages(self) -> float:
        """Messages until the target."""
        return self.rounds * self.messages_per_round


@dataclasses.dataclass(frozen=True)
class Choice:
    """Three ways to choose k on one graph, n and cell."""

    graph: str
    num_nodes: int
    sigma2: float
    zeta2: float
    grid_k: int
    """The fewest rounds of all candidates; 0: none reached the target."""
    theory_k: int
    """The smallest bound of all candidates."""
    closed_k: int
    """The closed form of ``theory.closed_form_k``."""
    search_ks: tuple[int, ...]
    """What Algorithm 2 returned with each of the seeds."""
    grid_rounds: float
    theory_rounds: float
    search_rounds: float
    """With the k of the grid, of theory, of Algorithm 2. One seed is left out after the
    other: it chooses (theory needs none), the others judge, with the best step size of
    that k; this is the median of their medians."""
    search_cost: float
    """Rounds of Algorithm 2 over those of running all candidates one by one."""


class Outcome(NamedTuple):
    """What came of a job."""

    rows: list[Row]
    choices: list[Choice]
    """Of TELEPORTATION with the candidates of Algorithm 2."""
    compiled: int
    """Programs that were compiled for it."""


def run(sweep: Sweep, job: Job) -> Outcome:
    """Run a program, and sum it up."""
    build, n = GRAPHS[job.graph], job.num_nodes
    if job.method == "DSGD":
        measured = synthetic_runs.dsgd(sweep, build, n)
        return Outcome(_rows(sweep, job, measured, (n,)), [], measured.compiled)
    measured = synthetic_runs.teleportation(sweep, build, n, job.candidates)
    waves = tele.plan_waves(n, job.candidates)
    ks = sum(waves, ())
    choices = []
    if job.candidates is None:
        cost = len(waves) / len(ks)
        for cell in range(len(sweep.noise)):
            choices.append(_choice(sweep, job, measured, ks, cell, cost))
    return Outcome(_rows(sweep, job, measured, ks), choices, measured.compiled)


def _rows(sweep: Sweep, job: Job, measured: Measured, ks: tuple[int, ...]) -> list[Row]:
    rows = []
    for place, k in enumerate(ks):
        degree = tele.analysis.degrees(GRAPHS[job.graph](k)).mean
        sent = degree * k
        if job.method == "TELEPORTATION":
            # Every slot pulls from itself and its senders, who held the tokens before;
            # one in n of those is the puller itself.
            sent = (degree + 1) * k * (1 - 1 / job.num_nodes)
        for cell, (sigma2, zeta2) in enumerate(sweep.noise):
            arrivals = measured.arrivals[place, :, cell]
            best = int(np.argmin(np.median(arrivals, axis=0)))
            found = arrivals[:, best]
            rounds = float(np.median(found))
            rows.append(
                Row(
                    label=job.label,
                    graph=job.graph,
                    num_nodes=job.num_nodes,
                    num_active=k,
                    sigma2=sigma2,
                    zeta2=zeta2,
                    rate=sweep.rates[best] if np.isfinite(rounds) else np.nan,
                    rounds=rounds,
                    rounds_min=float(found.min()),
                    rounds_max=float(found.max()),
                    missed=int(np.isinf(found).sum()),
                    messages_per_round=sent,
                )
            )
    return rows


def _choice(
    sweep: Sweep,
    job: Job,
    measured: Measured,
    ks: tuple[int, ...],
    cell: int,
    cost: float,
) -> Choice:
    sigma2, zeta2 = sweep.noise[cell]
    arrivals, scores = measured.arrivals[:, :, cell], measured.scores[:, :, cell]
    constants = synthetic_runs.constants_of(job.num_nodes, sweep.dim, sigma2, zeta2)
    size = {"num_nodes": job.num_nodes, "num_rounds": sweep.num_rounds}
    theory = tele.theory.best_k(
        constants, GRAPHS[job.graph], **size, candidates=ks
    ).num_slots
    exponent = tele.theory.FAMILIES[job.graph].exponent
    all_rounds = _rounds(arrivals)
    found, judged = [], []
    for seed in range(len(sweep.seeds)):
        place = _chosen(scores[:, seed])
        found.append(0 if place is None else ks[place])
        others = _rounds(np.delete(arrivals, seed, axis=1))
        mine = others[int(np.argmin(_rounds(arrivals[:, [seed]])))]
        searched = np.inf if place is None else others[place]
        judged.append((mine, others[ks.index(theory)], searched))
    by_grid, by_theory, by_search = np.median(judged, axis=0).tolist()
    return Choice(
        graph=job.graph,
        num_nodes=job.num_nodes,
        sigma2=sigma2,
        zeta2=zeta2,
        grid_k=ks[int(np.argmin(all_rounds))] if np.isfinite(all_rounds).any() else 0,
        theory_k=theory,
        closed_k=tele.theory.closed_form_k(constants, **size, exponent=exponent),
        search_ks=tuple(found),
        grid_rounds=by_grid,
        theory_rounds=by_theory,
        search_rounds=by_search,
        search_cost=cost,
    )


def _chosen(scores: np.ndarray) -> int | None:
    """The place of Algorithm 2's k, by the best score over all step sizes [k, r]."""
    best = np.where(np.isnan(scores), -np.inf, scores).max(axis=1)
    return int(best.argmax()) if np.isfinite(best).any() else None


def _rounds(arrivals: np.ndarray) -> np.ndarray:
    """[k]: the median over seeds, with the best step size, of arrivals [k, s, r]."""
    return np.median(arrivals, axis=1).min(axis=-1)
