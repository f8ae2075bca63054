"""A program for test_processes: simulate with all processes there are.

    python tests/together.py FOLDER CASE

Process 0 writes what came out to FOLDER/result.npz.
"""

import contextlib
import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import tele_jax as tele
from tele_jax import connection, processes
from tele_jax.driver import drive
from tele_jax.runs import RunDirectory

NODES, SLOTS = 19, 8
DIM = 512
"""So many that every process writes files of its own: small arrays are merged."""
ROUNDS, CHUNK = 60, 10


def algorithms():
    """Each with its own way of gossip: permuted, reduced, gathered; and memory."""
    momentum = jax.tree_util.Partial(optax.trace, decay=0.9)
    return {
        "ring": tele.Teleportation(tele.graphs.ring(SLOTS), 0.1, direction=momentum),
        "complete": tele.DSGD(tele.graphs.complete(NODES), 0.1),
        "random": tele.Teleportation(
            tele.graphs.random_matching(SLOTS, jax.random.key(2)), 0.1
        ),
    }


def task():
    """Noisy least squares."""
    return tele.tasks.least_squares(
        jax.random.key(0), num_nodes=NODES, dim=DIM, heterogeneity=1.0, noise=0.5
    )


def simulate(algorithm, num_rounds=20, resume=None, *, key=None, start=None):
    """Some rounds, from the one start if nothing else is said."""
    key = jax.random.key(1) if key is None else key
    return tele.simulate(
        *(algorithm, task(), jnp.ones(DIM) if start is None else start, key),
        num_rounds=num_rounds,
        eval_every=CHUNK if num_rounds else None,
        resume=resume,
    )


def driven(folder, said, pause):
    """A run in a directory, whose config says something."""

    def chunk(num_rounds, resume):
        time.sleep(pause)
        ring = tele.graphs.ring(SLOTS)
        return simulate(tele.Teleportation(ring, 0.1), num_rounds, resume)

    return drive(
        chunk,
        num_rounds=ROUNDS,
        rounds_per_chunk=CHUNK,
        rounds_per_checkpoint=CHUNK,
        directory=RunDirectory(folder / "run", {"said": said}, task()),
    )


def results(folder, case):
    """Name to array, whole on every process."""
    if case in ("algorithms", "late"):
        runs = {name: simulate(each) for name, each in algorithms().items()}
    elif case in ("rates", "graphs", "rounds", "keys", "starts"):
        index = jax.process_index()
        graph = tele.graphs.complete if case == "graphs" and index else tele.graphs.ring
        rate = 0.1 + index if case == "rates" else 0.1
        num_rounds = 20 + 20 * index if case == "rounds" else 20
        key = jax.random.key(index if case == "keys" else 1)
        start = jnp.full(DIM, 1.0 + index if case == "starts" else 1.0)
        algorithm = tele.Teleportation(graph(SLOTS), rate)
        runs = {"one": simulate(algorithm, num_rounds, key=key, start=start)}
    else:
        index = jax.process_index() if case == "configs" else 0
        pause = 0.5 if case == "slow" else 0.0
        runs = {"driven": driven(folder, index, pause)}
    found = {
        f"{name}/{i}": leaf
        for name, run in runs.items()
        for i, leaf in enumerate(jax.tree.leaves((run.state.params, run.metrics)))
    }
    return processes.fetch(found)


def main():
    """Entry point."""
    folder, case = Path(sys.argv[1]), sys.argv[2]
    if case == "versions" and os.environ[connection.INDEX] == "1":
        connection.PACKAGES = ("tele_jax",)
    tele.connect(timeout=60)
    mesh = (
        contextlib.nullcontext() if case == "bare" else jax.set_mesh(tele.slot_mesh())
    )
    with mesh:
        found = results(folder, case)
    if processes.is_first():
        if case == "late":  # by more than the time after which a process is dead
            time.sleep(15)
        np.savez(folder / "result.npz", processes=jax.process_count(), **found)


if __name__ == "__main__":
    main()
