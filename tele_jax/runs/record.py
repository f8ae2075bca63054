"""How far a run in a directory is, and what has become of it so far."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp

from tele_jax import processes
from tele_jax.connection import lost
from tele_jax.run import Run
from tele_jax.runs.checkpoints import Checkpoints, SharedDamage
from tele_jax.runs.curves import Curves


class Record:
    """An open run directory, as ``drive`` sees it."""

    def __init__(
        self, path: Path, checkpoints: Checkpoints, start: Run, log: logging.Logger
    ) -> None:
        self._path, self._checkpoints = path, checkpoints
        self.log, self._curves = log, Curves(path / "metrics", start)
        processes.check_alike("RunDirectory", {"checkpoints": checkpoints.rounds})
        self.tail, self.stopped = self._newest(start)
        """Where to go on, and whether a rule said that this is the end."""
        processes.wait_for_all()  # until all have read
        self._curves.forget(self.num_done)
        if not checkpoints.rounds:
            seen = processes.fetch((start.rounds, start.metrics, start.info))
            with self._writing():
                self._curves.add(Run(start.state, *seen), 0, 0)
            # From now on a folder without a checkpoint is one that has lost it.
            self.save()
            self.wait()
        log.info("begins at round %d", self.num_done)

    @property
    def num_done(self) -> int:
        """Rounds up to the tail."""
        return int(self.tail.rounds.max())

    def add(self, chunk: Run, tail: Run) -> None:
        """Write the curves of a chunk, and go on from its tail."""
        first = self.num_done + 1
        with self._writing():
            self._curves.add(chunk, first, int(tail.rounds.max()))
        self.tail = tail

    def save(self) -> None:
        """Begin to write a checkpoint of the tail, if there is none."""
        if self.num_done in self._checkpoints.rounds:
            return
        with self._writing():
            notes = {"stopped": self.stopped}
            self._checkpoints.save(self.num_done, self.tail.state, notes)
        self.log.info("checkpoint of round %d", self.num_done)

    def wait(self) -> None:
        """Return when all checkpoints are on disk."""
        with self._writing():
            self._checkpoints.wait()

    def finish(self) -> Run:
        """Save the last checkpoint, and give the run from its first round on."""
        self.save()
        self.wait()
        return self.whole()

    def whole(self) -> Run:
        """The run from its first round on, those of other processes included."""
        return self._curves.read(self.num_done, self.tail.state)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Say in one sentence that the disk is full, whoever finds it out and how."""
        try:
            yield
        except Exception as error:
            if lost(error):
                raise
            self.log.info("cannot write: %s", error)
            reason = getattr(error, "strerror", None) or _last_words(error)
            raise OSError(
                f"RunDirectory: cannot write to {self._path} ({reason}). What is there "
                "is whole: make space, and start again to go on from the last "
                "checkpoint."
            ) from error

    def _newest(self, start: Run) -> tuple[Run, bool]:
        """The newest checkpoint that is whole, and whose curves are."""
        reasons: list[str] = []
        for num_done in self._checkpoints.rounds:
            reason = self._curves.damage(num_done)
            if processes.any_of(reason is not None)[0]:
                reason = reason or "another process finds its curves damaged"
            if reason is None:
                try:
                    state, notes = self._checkpoints.load(num_done, start.state)
                except (MemoryError, SharedDamage):
                    raise
                except Exception as error:  # whatever a damaged file makes of itself
                    if lost(error):
                        raise
                    reason = f"checkpoint {num_done} is damaged ({_last_words(error)})"
                else:
                    for damaged in self._checkpoints.rounds[: len(reasons)]:
                        self._checkpoints.set_aside(damaged)
                    rounds = jnp.full_like(start.rounds, num_done)
                    tail = dataclasses.replace(start, state=state, rounds=rounds)
                    return tail, notes["stopped"]
            reasons.append(reason)
            self.log.warning("%s: %s; an older checkpoint may do", self._path, reason)
        if not self._checkpoints.rounds and len(self._curves.parts()) > 1:
            reasons.append("its checkpoints are gone")
        if reasons:
            raise ValueError(
                f"RunDirectory: nothing in {self._path} can be gone on with: "
                f"{'; '.join(dict.fromkeys(reasons))}. Restore the folder, or start "
                "again with force."
            )
        return start, False


def _last_words(error: Exception) -> str:
    """The end of the first line: those before say through whose hands it went."""
    line = str(error).strip().partition("\n")[0].partition(" [")[0]
    return line.rpartition(": ")[2] or type(error).__name__
