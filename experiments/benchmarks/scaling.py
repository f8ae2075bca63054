"""What does not grow: rounds with n, gossip beyond a copy, sweeps and searches."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tele_jax as tele
from experiments.benchmarks import measure, work
from experiments.benchmarks.measure import Record

_DIM = 64
"""Parameters of a model of least squares."""


def teleportation(
    *, few: int, many: Sequence[int], slots: Sequence[int], rounds: int, pairs: int
) -> list[Record]:
    """The time of a round with many nodes over that with few, and with many slots.

    The first rows are judged: n grows, k does not. In the others k grows, set against
    one slot; 256 rounds or fewer are enough there.
    """
    records = []
    for num_nodes in many:
        pair = tuple(_teleporting(n, 16, rounds) for n in (num_nodes, few))
        record = _compared(pair, f"{num_nodes:,} over {few:,}", "16", rounds, pairs)
        records.append(measure.judged(record, at_most=1.2))
    rounds = min(rounds, 256)
    for num_slots in slots:
        pair = tuple(_teleporting(many[0], k, rounds) for k in (num_slots, 1))
        told = f"{num_slots:,} over 1"
        records.append(_compared(pair, f"{many[0]:,}", told, rounds, pairs))
    return records


def _teleporting(num_nodes: int, num_slots: int, rounds: int) -> partial[Any]:
    task = _least_squares(num_nodes, _DIM)
    algorithm = tele.Teleportation(tele.graphs.ring(num_slots), 0.1)
    params, key = jnp.zeros(_DIM), jax.random.key(1)

    def run(task: tele.tasks.Quadratic) -> Any:
        return tele.simulate(
            algorithm, task, params, key, num_rounds=rounds, observe=work.nothing
        ).state

    return partial(run, task)


def _compared(
    programs: tuple[partial[Any], ...],
    nodes: str,
    slots: str,
    rounds: int,
    pairs: int,
) -> Record:
    one, other = programs
    seconds = measure.alternate(one, other, pairs)
    first, second = np.median(seconds, axis=0) / rounds * 1e6
    return {
        "nodes": nodes,
        "slots": slots,
        "round, µs": f"{first:.1f} over {second:.1f}",
        "temporary bytes": " over ".join(f"{_temporary_bytes(p):,}" for p in programs),
        **measure.quotient(seconds[:, 0], seconds[:, 1]),
    }


def _temporary_bytes(program: partial[Any]) -> int:
    """What the program needs beside its arguments and results."""
    lowered = jax.jit(program.func).lower(*program.args)
    analysis: Any = lowered.compile().memory_analysis()
    return analysis.temp_size_in_bytes


def _least_squares(num_nodes: int, dim: int) -> tele.tasks.Quadratic:
    return tele.tasks.least_squares(
        jax.random.key(0), num_nodes=num_nodes, dim=dim, heterogeneity=1.0, noise=1.0
    )


def gossip(pairs: int) -> list[Record]:
    """One round of gossip over one copy of the same array."""
    cases: dict[str, tuple[tele.Topology, int]] = {
        "ring": (tele.graphs.ring(64), 100_000),
        "exponential": (tele.graphs.exponential(1024), 10_000),
        "Base-2": (tele.graphs.base_graph(1000, 1), 10_000),
        "complete": (tele.graphs.complete(1024), 10_000),
        "random matching": (
            tele.graphs.random_matching(1024, jax.random.key(0)),
            10_000,
        ),
    }
    return [
        _gossip(name, topology, dim, pairs) for name, (topology, dim) in cases.items()
    ]


def _gossip(name: str, topology: tele.Topology, dim: int, pairs: int) -> Record:
    num_slots = topology.num_slots
    slots = jax.random.normal(jax.random.key(0), (num_slots, dim))
    mix = jax.jit(lambda topology, slots: tele.gossip.mix(topology.at(0), slots))
    copy = jax.jit(jnp.copy)
    seconds = measure.alternate(
        lambda: mix(topology, slots), lambda: copy(slots), pairs
    )
    mixed, copied = np.median(seconds, axis=0) * 1e3
    record = {
        "topology": name,
        "slots": num_slots,
        "parameters": dim,
        "senders": 1 + tele.analysis.degrees(topology, 1).in_max,
        "gossip, ms": mixed,
        "copy, ms": copied,
        **measure.quotient(seconds[:, 0], seconds[:, 1]),
    }
    return measure.judged(record, at_most=2.5)


def search(*, num_nodes: int, rounds: int, pairs: int) -> list[Record]:
    """Algorithm 2 over plain runs with n active nodes, one for each of its waves."""
    dim, key, every = 64, jax.random.key(1), rounds // 20
    task, params = _least_squares(num_nodes, dim), jnp.zeros(dim)
    ring = tele.graphs.ring
    algorithm = tele.Teleportation(ring(num_nodes), 0.1)

    def searched() -> Any:
        found = tele.search(
            ring, task, params, key, 0.1, num_rounds=rounds, eval_every=every
        )
        return found.best_model, found.scores

    def plain() -> Any:
        observe = tele.metrics.mean_model
        return tele.simulate(
            *(algorithm, task, params, key),
            num_rounds=rounds,
            eval_every=every,
            observe=observe,
        ).state.params

    waves = len(tele.plan_waves(num_nodes))
    seconds = measure.alternate(searched, plain, pairs)
    search_s, plain_s = np.median(seconds, axis=0)
    record = {
        "nodes": num_nodes,
        "rounds of a wave": rounds,
        "Algorithm 2, s": search_s,
        f"{waves} plain runs, s": waves * plain_s,
        **measure.quotient(seconds[:, 0], waves * seconds[:, 1]),
    }
    return [measure.judged(record, at_most=1.3)]


def sweep(*, num_seeds: int, num_rates: int, rounds: int, pairs: int) -> list[Record]:
    """Separate calls of one compiled program over all runs as one program."""
    num_nodes, dim = 64, 64
    task = _least_squares(num_nodes, dim)
    topology, params = tele.graphs.ring(num_nodes), jnp.zeros(dim)

    def run(seed: jax.Array, rate: jax.Array) -> tele.Run:
        algorithm = tele.DSGD(topology, rate)
        return tele.simulate(algorithm, task, params, seed, num_rounds=rounds)

    seeds = jax.random.split(jax.random.key(1), num_seeds)
    rates = jnp.geomspace(1e-3, 1e-1, num_rates)
    over_rates = jax.vmap(run, in_axes=(None, 0))
    together = jax.vmap(over_rates, in_axes=(0, None))

    def separately() -> list[tele.Run]:
        return [run(seed, rate) for seed in seeds for rate in rates]

    seconds = measure.alternate(separately, lambda: together(seeds, rates), pairs)
    apart_s, together_s = np.median(seconds, axis=0)
    record = {
        "runs": num_seeds * num_rates,
        "nodes": num_nodes,
        "rounds": rounds,
        "separate calls, s": apart_s,
        "one program, s": together_s,
        **measure.quotient(seconds[:, 0], seconds[:, 1]),
    }
    return [measure.judged(record, at_least=4)]
