"""What should cost no more than its parts: gossip, a sweep, a search."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tele_jax as tele
from experiments.benchmarks import measure
from experiments.benchmarks.measure import Record


def least_squares(num_nodes: int, dim: int) -> tele.tasks.Quadratic:
    """A quadratic of nodes that disagree, with noise."""
    return tele.tasks.least_squares(
        jax.random.key(0), num_nodes=num_nodes, dim=dim, heterogeneity=1.0, noise=1.0
    )


def gossip(pairs: int) -> list[Record]:
    """One round of gossip over one copy of the same array."""
    graphs = tele.graphs
    cases: list[tuple[str, tele.Topology, int, float]] = [
        ("ring", graphs.ring(256), 40_000, 2.0),
        ("ring", graphs.ring(1024), 10_000, 2.0),
        ("exponential", graphs.exponential(256), 40_000, 2.0),
        ("exponential", graphs.exponential(1024), 10_000, 2.0),
        ("Base-2", graphs.base_graph(1000, 1), 10_000, 2.5),
        ("complete", graphs.complete(1024), 10_000, 2.5),
        (
            "random matching",
            graphs.random_matching(1024, jax.random.key(0)),
            10_000,
            2.5,
        ),
    ]
    return [_gossip(*case, pairs) for case in cases]


def _gossip(
    name: str, topology: tele.Topology, dim: int, most: float, pairs: int
) -> Record:
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
    return measure.judged(record, at_most=most)


def search(*, num_nodes: int, rounds: int, pairs: int) -> list[Record]:
    """Algorithm 2 over plain runs with n active nodes, one for each of its waves."""
    dim, key, every = 64, jax.random.key(1), rounds // 20
    task, params = least_squares(num_nodes, dim), jnp.zeros(dim)
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
    task = least_squares(num_nodes, dim)
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
