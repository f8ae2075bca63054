"""The chunks of a run that is kept nowhere else."""

import jax
import numpy as np

from tele_jax import processes
from tele_jax._progress import new_log
from tele_jax.run import Run


class InMemory:
    """Does for ``drive`` what ``runs.record.Record`` does, without a directory."""

    def __init__(self, start: Run) -> None:
        self.log = new_log("drive")
        self.tail, self.stopped = start, False
        self._parts = [processes.fetch((start.rounds, start.metrics, start.info))]

    def __enter__(self) -> "InMemory":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def num_done(self) -> int:
        """Rounds up to the tail."""
        return int(self.tail.rounds.max())

    def add(self, chunk: Run, tail: Run) -> None:
        """Keep the curves of a chunk, not its models."""
        self._parts.append((chunk.rounds, chunk.metrics, chunk.info))
        self.tail = tail

    def save(self) -> None:
        """Nothing is to be written."""

    def finish(self) -> Run:
        """All chunks as one run."""
        axis = self.tail.rounds.ndim - 1
        joined = jax.tree.map(
            lambda *parts: jax.device_put(np.concatenate(parts, axis=axis)),
            *self._parts,
        )
        return Run(self.tail.state, *joined)
