"""Many processes that simulate together, each with devices of its own.

JAX does the work: under ``jax.set_mesh(slot_mesh())`` the slots are shared by the
devices of all processes. Every process runs the same program; here is what it takes
to begin together, to agree, and to read arrays that no process holds alone.
"""

import contextlib
import functools
import json
import os
import platform
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import metadata
from types import TracebackType
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

Opened = TypeVar("Opened")

ADDRESS = "JAX_COORDINATOR_ADDRESS"
NUMBER, INDEX = "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
"""Environment variables by which ``tele_jax.launch`` tells a process who it is."""
_CLUSTERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "TPU_WORKER_HOSTNAMES")
"""Variables of surroundings in which jax finds out by itself."""
_HEARTBEAT_S = 10
"""A process that is silent for so long is dead; with jax's 100 s, others idle on."""
LOST = 75
"""Exit code of a process that another one left: EX_TEMPFAIL, try again."""
_OF_THE_LINE = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED")
_PACKAGES = ("tele_jax", "jax", "jaxlib", "flax", "optax", "numpy")


def connect(
    address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout: float = 60.0,
) -> None:
    """Join the other processes of a run. Comes before anything else of jax.

    Without arguments, what ``python -m tele_jax.launch``, SLURM, Open MPI or a TPU pod
    say; where nobody says anything the process stays alone, so that a script runs on a
    laptop as it is. A process that dies takes the others with it, within seconds, so
    that a run ends and can be resumed.

    Args:
      address: ``"host:port"`` of process 0, a port that is free there.
      num_processes: how many.
      process_id: which of them this is, 0 to ``num_processes`` − 1.
      timeout: seconds to wait for the others.

    Raises:
      ValueError: some of the three are missing, the number is not in range, nobody
        answers at the address, or versions differ between processes.

    >>> connect()  # alone
    """
    given = (address, num_processes, process_id)
    if any(value is not None for value in given):
        if any(value is None for value in given):
            raise ValueError(
                f"connect: got address={address!r}, num_processes={num_processes}, "
                f"process_id={process_id}, expected all three or none."
            )
    elif ADDRESS in os.environ and NUMBER in os.environ:
        address = os.environ[ADDRESS]
        num_processes, process_id = int(os.environ[NUMBER]), int(os.environ[INDEX])
    elif not any(name in os.environ for name in _CLUSTERS):
        return
    if address is not None:
        _check(address, num_processes, process_id, timeout)
    jax.distributed.initialize(
        address,
        num_processes,
        process_id,
        initialization_timeout=round(timeout),
        heartbeat_timeout_seconds=_HEARTBEAT_S,
        shutdown_timeout_seconds=_HEARTBEAT_S,
    )
    sys.excepthook = functools.partial(_leave, sys.excepthook)
    versions = {name: metadata.version(name) for name in _PACKAGES}
    check_alike("connect", {"python": platform.python_version(), **versions})


def _check(address: str, number: Any, index: Any, timeout: float) -> None:
    """Refuse here what would end the process without a Python exception there."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise ValueError(f'connect: got address={address!r}, expected "host:port".')
    if not 0 <= index < number:
        raise ValueError(
            f"connect: got process_id={index}, expected 0 to {number - 1}, for there "
            f"are {number} processes."
        )
    if index == 0:
        return
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), 1.0).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise ValueError(
                    f"connect: nobody answers at {address} for {timeout:g} s ({error});"
                    " is process 0 running, and can it be reached from here? Or give "
                    "it a longer timeout."
                ) from None
            time.sleep(0.2)


def lost(error: BaseException) -> bool:
    """Whether an exception says that another process is gone.

    >>> lost(ValueError("Gloo"))
    False
    """
    told = isinstance(error, jax.errors.JaxRuntimeError)
    return told and any(name in str(error) for name in _OF_THE_LINE)


def _leave(
    usual: Callable[..., Any],
    kind: type[BaseException],
    error: BaseException,
    traceback: TracebackType | None,
) -> None:
    """Say what went wrong and go at once: jax's exit waits for all processes."""
    if lost(error):
        reason = str(error).partition("\n")[0]
        print(f"connect: lost another process ({reason}).", file=sys.stderr)
    else:
        usual(kind, error, traceback)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(LOST if lost(error) else 1)


def is_first() -> bool:
    """Whether this process is the one that writes and speaks for all.

    >>> is_first()
    True
    """
    return jax.process_index() == 0


def fetch(tree: Any) -> Any:
    """Arrays as they are on the host, also those that are spread over processes.

    All processes have to call it together.

    >>> fetch({"a": jax.numpy.arange(2)})
    {'a': array([0, 1], dtype=int32)}
    """

    def whole(leaf: Any) -> Any:
        shared = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
        if not shared or leaf.is_fully_replicated:
            return jax.device_get(leaf)
        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.tree.map(whole, tree)


def any_of(*flags: bool) -> tuple[bool, ...]:
    """Of each flag, whether it is set on any process; the same answer on all.

    >>> any_of(True, False)
    (True, False)
    """
    if jax.process_count() == 1:
        return flags
    told = np.asarray(multihost_utils.process_allgather(np.array(flags)))
    return tuple(bool(np.any(of_flag)) for of_flag in told.T)


def wait_for_all() -> None:
    """Go on when all processes are here."""
    any_of(False)


def check_alike(who: str, facts: dict[str, Any]) -> None:
    """Refuse what is not the same on all processes, and name it.

    Raises:
      ValueError: on all processes, if any fact differs from that of process 0.

    >>> check_alike("connect", {"jax": jax.__version__})
    """
    first, *others = (json.loads(told) for told in _told_by_all(json.dumps(facts)))
    for index, other in enumerate(others, start=1):
        for name in {**first, **other}:
            mine, theirs = first.get(name), other.get(name)
            if json.dumps(mine) != json.dumps(theirs):
                raise ValueError(
                    f"{who}: process {index} has {name} {theirs!r}, and process 0 "
                    f"{mine!r}; start all with the same."
                )


@contextlib.contextmanager
def first_opens(
    opened: AbstractContextManager[Opened], otherwise: Opened
) -> Iterator[Opened]:
    """Enter a context on process 0 only, before the others go on without it.

    Raises:
      ValueError: on the other processes, with the words of what process 0 raised.
    """
    with contextlib.ExitStack() as stack:
        words, value = "", otherwise
        try:
            if is_first():
                value = stack.enter_context(opened)
        except Exception as error:
            words = str(error) or type(error).__name__
            raise
        finally:
            refused = _told_by_all(words)[0]
        if refused:
            raise ValueError(f"{refused} (told by process 0)")
        yield value


def _told_by_all(words: str) -> list[str]:
    """What every process says, in their order."""
    if jax.process_count() == 1:
        return [words]
    text = np.frombuffer(words.encode(), np.uint8)
    lengths = np.ravel(multihost_utils.process_allgather(np.array([len(text)])))
    padded = np.zeros(lengths.max() + 1, np.uint8)
    padded[: len(text)] = text
    told = np.asarray(multihost_utils.process_allgather(padded))
    return [
        bytes(row[:length]).decode()
        for row, length in zip(told, lengths.tolist(), strict=True)
    ]
