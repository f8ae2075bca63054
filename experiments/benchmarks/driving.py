"""What progress, chunks and checkpoints cost a long run."""

import contextlib
import io
import itertools
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

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
    task = work.everywhere(mesh, overhead.images(num_nodes, group_norm=False))
    algorithm = tele.DSGD(tele.graphs.ring(num_nodes), work.LEARNING_RATE)
    params, key = work.lenet_params(group_norm=False), jax.random.key(0)

    def run(num_rounds: int, resume: Any = None) -> Any:
        return tele.simulate(
            algorithm,
            task,
            params,
            key,
            num_rounds=num_rounds,
            observe=work.nothing,
            resume=resume,
        )

    def driven(**settings: Any) -> Any:
        with contextlib.redirect_stderr(io.StringIO()):
            return drive(
                run, num_rounds=rounds, rounds_per_chunk=rounds // chunks, **settings
            )

    with jax.set_mesh(mesh), tempfile.TemporaryDirectory() as scratch:
        number = itertools.count()

        def kept(rounds_per_checkpoint: int) -> Any:
            path = Path(scratch) / str(next(number))
            return driven(
                directory=RunDirectory(path, {}),
                rounds_per_checkpoint=rounds_per_checkpoint,
                minutes_per_checkpoint=np.inf,
            )

        chunked = measure.alternate(driven, lambda: run(rounds), pairs)
        checkpointed = measure.alternate(
            lambda: kept(rounds // chunks), lambda: kept(rounds), pairs
        )
    whole = chunked[:, 1]
    # Beyond the start's and the end's, which both runs write.
    more = (checkpointed[:, 0] - checkpointed[:, 1]) / (chunks - 1)
    minute = np.full(pairs, SECONDS_PER_CHECKPOINT)
    return [
        {"LeNets": num_nodes, "what": what, "seconds": float(np.median(took)), **judged}
        for what, took, judged in (
            (
                f"{rounds} rounds in {chunks} chunks, with progress, over one call",
                chunked[:, 0],
                measure.judged(measure.quotient(chunked[:, 0], whole), at_most=1.02),
            ),
            (
                "a minute with a checkpoint over one without",
                minute + more,
                measure.judged(measure.quotient(minute + more, minute), at_most=1.02),
            ),
        )
    ]
