"""What progress, chunks and checkpoints cost a long run."""

import contextlib
import io
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

import tele_jax as tele
from experiments.benchmarks import measure, overhead, work
from experiments.benchmarks.measure import Record
from tele_jax.driver import drive
from tele_jax.runs import RunDirectory

SECONDS_PER_CHECKPOINT = 60
"""The default of ``drive``."""


def driving(num_nodes: int, *, rounds: int, chunks: int, pairs: int) -> list[Record]:
    """Driven runs of LeNets on a ring over others that do the same rounds.

    The first row compares a driven run, in chunks and with its progress bar, with one
    call of ``simulate``. The second compares a run directory with a checkpoint after
    every chunk with one that has those of its start and end only: what one checkpoint
    takes is then set against a minute.
    """
    mesh = work.mesh(num_nodes)
    run = _lenets(num_nodes, mesh)
    per_chunk = rounds // chunks
    with jax.set_mesh(mesh), tempfile.TemporaryDirectory() as scratch:
        number = itertools.count()

        def driven(**settings: Any) -> Any:
            settings |= {"num_rounds": rounds, "rounds_per_chunk": per_chunk}
            with contextlib.redirect_stderr(io.StringIO()):
                return drive(run, **settings)

        def kept(rounds_per_checkpoint: int) -> Any:
            path = Path(scratch) / str(next(number))
            return driven(
                directory=RunDirectory(path, {}),
                rounds_per_checkpoint=rounds_per_checkpoint,
                minutes_per_checkpoint=np.inf,
            )

        chunked = measure.alternate(driven, lambda: run(rounds, None), pairs)
        checkpointed = measure.alternate(
            lambda: kept(per_chunk), lambda: kept(rounds), pairs
        )
    # Beyond the start's and the end's, which both runs write.
    more = (checkpointed[:, 0] - checkpointed[:, 1]) / (chunks - 1)
    minute = np.full(pairs, SECONDS_PER_CHECKPOINT)
    words = f"{num_nodes} LeNets, {rounds} rounds in {chunks} chunks, over one call"
    return [
        _record(words, *chunked.T),
        _record("a minute with a checkpoint over one without", minute + more, minute),
    ]


def _lenets(num_nodes: int, mesh: Mesh) -> Callable[[int, Any], Any]:
    """A chunk of DSGD on a ring."""
    net = work.lenet(group_norm=False)
    task = work.everywhere(mesh, overhead.images(num_nodes, net.model))
    algorithm = tele.DSGD(tele.graphs.ring(num_nodes), work.LEARNING_RATE)
    params, key = net.params, jax.random.key(0)

    def run(num_rounds: int, resume: Any) -> Any:
        return tele.simulate(
            algorithm,
            task,
            params,
            key,
            num_rounds=num_rounds,
            observe=work.nothing,
            resume=resume,
        )

    return run


def _record(what: str, numerator: np.ndarray, denominator: np.ndarray) -> Record:
    seconds = float(np.median(numerator))
    ratio = measure.quotient(numerator, denominator)
    return measure.judged({"what": what, "seconds": seconds, **ratio}, at_most=1.02)
