"""What simulated clocks cost, and that it does not grow with n."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tele_jax as tele
from experiments.benchmarks import measure, overhead, work
from experiments.benchmarks.measure import Record
from tele_jax import network


def clocks(*, rounds: int, many: int, few: int, pairs: int) -> list[Record]:
    """A timed round of 64 LeNets over one without clocks; n = many over n = few.

    The network has clusters, every step takes a random time, and sends are serial, the
    dearest of the forms.
    """
    return [_of_lenets(rounds, pairs), _of_many(many, few, pairs)]


def _clusters(num_nodes: int) -> tele.Network:
    latency = np.full((4, 4), 0.1) - np.diag(np.full(4, 0.099))
    links = network.clusters(np.full(4, num_nodes // 4), latency, np.full((4, 4), 1e9))
    return tele.Network(links, network.log_normal(1.0, 0.5), sends="serial")


def _of_lenets(rounds: int, pairs: int) -> Record:
    num_nodes = 64
    mesh = work.mesh(num_nodes)
    net = work.lenet(group_norm=False)
    task = work.everywhere(mesh, overhead.images(num_nodes, net.model))
    algorithm = tele.DSGD(tele.graphs.ring(num_nodes), work.LEARNING_RATE)
    params, key = net.params, jax.random.key(0)

    def run(algorithm: Any) -> Any:
        return tele.simulate(
            algorithm, task, params, key, num_rounds=rounds, observe=work.nothing
        )

    timed = tele.Timed(algorithm, _clusters(num_nodes))
    with jax.set_mesh(mesh):
        seconds = measure.alternate(lambda: run(timed), lambda: run(algorithm), pairs)
    return measure.judged(
        {
            "what": "64 LeNets on a ring, with clocks over without",
            "round, ms": float(np.median(seconds[:, 0])) / rounds * 1e3,
            **measure.quotient(seconds[:, 0], seconds[:, 1]),
        },
        at_most=1.05,
    )


def _of_many(many: int, few: int, pairs: int) -> Record:
    num_slots, rounds = 64, 500

    def program(num_nodes: int) -> measure.Program:
        teleportation = tele.Teleportation(tele.graphs.exponential(num_slots), 0.1)
        timed = tele.Timed(teleportation, _clusters(num_nodes))
        still = network.Still(num_nodes)

        def run() -> Any:
            return tele.simulate(
                timed,
                still,
                jnp.float32(0.0),
                jax.random.key(0),
                num_rounds=rounds,
                observe=work.nothing,
            )

        return run

    seconds = measure.alternate(program(many), program(few), pairs)
    return measure.judged(
        {
            "what": f"clocks of {num_slots} tokens, n = {many:,} over n = {few:,}",
            "round, ms": float(np.median(seconds[:, 0])) / rounds * 1e3,
            **measure.quotient(seconds[:, 0], seconds[:, 1]),
        },
        at_most=1.2,
    )
