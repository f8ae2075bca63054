"""Long runs on the host: chunks around ``simulate``, with progress and checkpoints."""

import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax

from tele_jax import processes
from tele_jax._in_memory import InMemory
from tele_jax._progress import Progress, nobody_is_left
from tele_jax.callbacks import Callback
from tele_jax.run import Run

if TYPE_CHECKING:
    from tele_jax.runs import RunDirectory
    from tele_jax.runs.record import Record


def drive(
    simulate_chunk: Callable[[int, Run | None], Run],
    *,
    num_rounds: int,
    rounds_per_chunk: int,
    label: str = "",
    directory: "RunDirectory | None" = None,
    rounds_per_checkpoint: int | None = None,
    minutes_per_checkpoint: float = 1.0,
    stop: Callable[[Run], bool] | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> Run:
    """Repeat a chunk of a simulation, resumed from itself, and show how far it is.

    A progress bar tells rounds per second, the time that is left, the loss on the
    batches of the last round (``round_loss``) and, where it is measured, the accuracy
    of the mean model: their means over a batched run. Ctrl-C, or SIGTERM, stops within
    a chunk: what is done so far is kept. That a run diverged is said in words, and
    never raised. It stops when all nodes or models are lost for good.

    With a ``directory`` the run survives being killed: called again, it goes on from
    the newest checkpoint, and returns bit by bit the run that was never interrupted.

    Args:
      simulate_chunk: ``(num_rounds, resume) -> Run``, a call of ``simulate`` with
        these two, possibly batched by ``vmap``. The chunks have equal length, so they
        compile once. Of ``resume``, only the state and the last round are those of the
        run.
      num_rounds: how many rounds to do in all.
      rounds_per_chunk: how many at a time, a divisor of ``num_rounds``.
      label: what to write before the bar.
      directory: where the run is kept; None keeps it in memory only.
      rounds_per_checkpoint: write a checkpoint at the first chunk's end after so many
        rounds; None: by time alone.
      minutes_per_checkpoint: the same after so many minutes.
      stop: called with every chunk; where it is true, the run ends early. What it
        remembers of earlier chunks is lost with the process.
      callbacks: called with every chunk, in turn: ``callbacks.tensorboard`` and others.
        A run that goes on after a kill repeats the chunks since its last checkpoint. Of
        many processes each calls its own.
      progress: whether to show a bar, and what the run took.

    Returns:
      All chunks as one ``Run``. Ctrl-C returns what is done so far; compare
      ``run.rounds`` with ``num_rounds``. After SIGTERM the process ends as if it had
      not been caught.

    Raises:
      ValueError: ``rounds_per_chunk`` does not divide the rounds to do, or the
        directory cannot be used; nothing has run then.
      OSError: the directory cannot be written any more, as on a full disk.

    >>> import jax, jax.numpy as jnp, tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=4)
    >>> def chunk(num_rounds, resume):
    ...     algorithm = tele.DSGD(tele.graphs.ring(8), 0.5)
    ...     return tele.simulate(algorithm, task, jnp.ones(4), jax.random.key(1),
    ...                          num_rounds=num_rounds, resume=resume)
    >>> drive(chunk, num_rounds=20, rounds_per_chunk=5).rounds.tolist()
    [0, 5, 10, 15, 20]
    """
    _check(num_rounds, rounds_per_chunk, rounds_per_checkpoint, minutes_per_checkpoint)
    _check_alike(num_rounds, rounds_per_chunk, directory)
    if directory is None or directory.force:  # there is nothing to go on from
        _check_rest(rounds_per_chunk, num_rounds, 0)
    told = progress and processes.is_first()
    with _signals() as caught, Progress(label, num_rounds, shown=told) as shown:
        opened = InMemory if directory is None else directory.open
        with opened(simulate_chunk(0, None)) as record:  # a name would keep its models
            _check_rest(rounds_per_chunk, num_rounds, record.num_done)
            due = _Due(record, rounds_per_checkpoint, minutes_per_checkpoint)
            shown.begin(record.num_done)
            length = (num_rounds, rounds_per_chunk)
            try:
                for chunk in _chunks(simulate_chunk, record, *length, caught):
                    record.stopped = _is_last(chunk, stop)
                    for callback in callbacks:
                        callback(chunk)
                    if due():
                        record.save()
                    shown.update(chunk, record.num_done)
            except KeyboardInterrupt:
                caught.append(signal.SIGINT)
            run = record.finish()
            shown.end(run, record)
    if signal.SIGTERM in caught:
        signal.raise_signal(signal.SIGTERM)
    return run


def _is_last(chunk: Run, stop: Callable[[Run], bool] | None) -> bool:
    """Whether nobody is left, or a rule says that it is enough."""
    ends = stop is not None and bool(stop(chunk))
    return processes.any_of(nobody_is_left(chunk) or ends)[0]


def _chunks(
    simulate_chunk: Callable[[int, Run | None], Run],
    record: "Record | InMemory",
    num_rounds: int,
    rounds_per_chunk: int,
    caught: list[int],
) -> Iterator[Run]:
    """The chunks that are left, each recorded; a signal ends them."""
    while record.num_done < num_rounds and not record.stopped:
        if processes.any_of(bool(caught))[0]:
            return
        before = record.tail
        chunk = simulate_chunk(rounds_per_chunk, before)
        if not _is_ready(chunk, caught):
            return
        seen = processes.fetch((chunk.rounds, chunk.metrics, chunk.info))
        chunk = Run(chunk.state, *seen)
        # As short as the start, so that all chunks begin with arrays of one shape.
        rounds = jax.device_put(seen[0][..., -1:])
        record.add(chunk, dataclasses.replace(before, state=chunk.state, rounds=rounds))
        del before  # and its models, while a checkpoint copies the new ones
        yield chunk


def _is_ready(run: Run, caught: list[int]) -> bool:
    """Wait for the devices; False if a signal comes first.

    ``block_until_ready`` would keep signals waiting for as long as the chunk takes. Of
    many processes none leaves within a chunk, which the others could not end.
    """
    pause = 1e-4
    leaves: list[Any] = jax.tree.leaves(run)
    while not all(leaf.is_ready() for leaf in leaves):
        if caught and jax.process_count() == 1:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
    return True


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """A list that gets Ctrl-C and SIGTERM instead of their effect.

    A second Ctrl-C has it, for code that would keep the first waiting.

    Only the main thread hears signals; in another one the list stays empty.
    """
    caught: list[int] = []

    def note(number: int, _: Any) -> None:
        if caught and number == signal.SIGINT:
            if jax.process_count() > 1:  # the others cannot follow to where this one is
                os._exit(130)
            raise KeyboardInterrupt
        caught.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN  # as in the background
    ]
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


class _Due:
    """Whether it is time for a checkpoint: so many rounds or minutes after the last."""

    def __init__(
        self, record: "Record | InMemory", rounds: int | None, minutes: float
    ) -> None:
        self._record, self._rounds, self._seconds = record, rounds, 60 * minutes
        self._last = record.num_done, time.monotonic()

    def __call__(self) -> bool:
        rounds, seconds = self._record.num_done, time.monotonic()
        many = self._rounds is not None and rounds - self._last[0] >= self._rounds
        if processes.any_of(many or seconds - self._last[1] >= self._seconds)[0]:
            self._last = rounds, seconds
            return True
        return False


def _check(
    num_rounds: int, per_chunk: int, per_checkpoint: int | None, minutes: float
) -> None:
    if per_chunk < 1:
        raise ValueError(
            f"drive: rounds_per_chunk={per_chunk} must divide num_rounds={num_rounds}."
        )
    if per_checkpoint is not None and per_checkpoint < 1:
        raise ValueError(
            f"drive: got rounds_per_checkpoint={per_checkpoint}, expected at least 1."
        )
    if not minutes > 0:
        raise ValueError(
            f"drive: got minutes_per_checkpoint={minutes}, expected more than 0."
        )


def _check_alike(
    num_rounds: int, per_chunk: int, directory: "RunDirectory | None"
) -> None:
    """Of many processes, all have to do the same chunks in the same place."""
    place = None if directory is None else str(directory.path)
    asked = {"num_rounds": num_rounds, "rounds_per_chunk": per_chunk}
    processes.check_alike("drive", {**asked, "directory": place})


def _check_rest(per_chunk: int, num_rounds: int, num_done: int) -> None:
    if num_done > num_rounds:
        raise ValueError(
            f"drive: the directory holds {num_done} rounds, expected at most "
            f"num_rounds={num_rounds}."
        )
    if (num_rounds - num_done) % per_chunk:
        beyond = f" less the {num_done} that are done" if num_done else ""
        raise ValueError(
            f"drive: rounds_per_chunk={per_chunk} must divide num_rounds={num_rounds}"
            f"{beyond}."
        )
