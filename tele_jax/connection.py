"""Join the other processes of a run, and leave when one of them is gone."""

import functools
import os
import platform
import re
import socket
import sys
import time
from collections.abc import Callable
from importlib import metadata
from types import TracebackType
from typing import Any

import jax

from tele_jax import processes

ADDRESS = "JAX_COORDINATOR_ADDRESS"
NUMBER, INDEX = "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
LAUNCHED = "TELE_JAX_LAUNCHED"
"""Environment variables by which ``tele_jax.launch`` tells a process who it is."""
_HEARTBEAT_S = 10
"""A process that is silent for so long is dead; with jax's 100 s, others idle on."""
_SHUTDOWN_S = 300
"""Processes that are done wait so long for one that is not, as it draws its figures;
one that leaves by ``sys.exit`` keeps the others waiting as long."""
LOST = 75
"""Exit code of a process that another one left: EX_TEMPFAIL, try again."""
_OF_THE_LINE = ("Gloo", "UNAVAILABLE", "DEADLINE_EXCEEDED")
PACKAGES = ("tele_jax", "jax", "jaxlib", "flax", "optax", "numpy")


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
    laptop as it is. Settings (``jax.config.update``) go before it. A process that dies
    takes the others with it, within seconds, so that a run ends and can be resumed.

    Args:
      address: ``"host:port"`` of process 0, a port that is free there.
      num_processes: how many.
      process_id: which of them this is, 0 to ``num_processes`` − 1.
      timeout: seconds to wait for the others.

    Raises:
      ValueError: some of the three are missing, the number is not in range, nobody
        answers at the address, or versions differ between processes.
      RuntimeError: jax has computed something already.

    >>> connect()  # doctest: +SKIP
    """
    told = (address, num_processes, process_id) != (None, None, None)
    if not told and (NUMBER in os.environ or INDEX in os.environ):
        address = os.environ.get(ADDRESS)
        num_processes, process_id = map(_number, (NUMBER, INDEX))
        told = True
    if told:
        _check(address, num_processes, process_id, timeout)
    # It would keep SIGTERM from everybody else.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            address,
            num_processes,
            process_id,
            cluster_detection_method="deactivate" if told else None,
            initialization_timeout=max(1, round(timeout)),
            heartbeat_timeout_seconds=_HEARTBEAT_S,
            shutdown_timeout_seconds=_SHUTDOWN_S,
        )
    except ValueError as error:
        if told or "coordinator_address should be defined" not in str(error):
            raise
        return  # there are no others
    sys.excepthook = functools.partial(_leave, sys.excepthook)
    versions = {name: metadata.version(name) for name in PACKAGES}
    processes.check_alike("connect", {"python": platform.python_version(), **versions})


def _number(name: str) -> int | None:
    """What an environment variable says."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else None


def _check(
    address: str | None, number: int | None, index: int | None, timeout: float
) -> None:
    """Refuse here what would end the process without a Python exception there."""
    if address is None or number is None or index is None:
        raise ValueError(
            f"connect: got address={address!r}, num_processes={number}, "
            f"process_id={index}, expected all three or none; from the environment, "
            f"{ADDRESS}, {NUMBER} and {INDEX}."
        )
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 2**16):
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
        except (OSError, UnicodeError) as error:
            if time.monotonic() > deadline:
                raise ValueError(
                    f"connect: nobody answers at {address} for {timeout:g} s ({error});"
                    " is process 0 running, and can it be reached from here? Or give "
                    "it a longer timeout."
                ) from None
            time.sleep(0.2)


def lost(error: BaseException) -> bool:
    """Whether an exception says that another process is gone.

    >>> lost(ValueError("UNKNOWN: Gloo AllGather failed")), lost(ValueError("Gloo"))
    (True, False)
    """
    words = str(error)
    if isinstance(error, ValueError):  # what jax makes of some of them
        return re.match("[A-Z_]+: Gloo ", words) is not None
    told = isinstance(error, jax.errors.JaxRuntimeError)
    return told and any(name in words for name in _OF_THE_LINE)


def _leave(
    usual: Callable[..., Any],
    kind: type[BaseException],
    error: BaseException,
    traceback: TracebackType | None,
) -> None:
    """Say what went wrong and go at once: jax's exit waits for all processes."""
    if not lost(error):
        usual(kind, error, traceback)
    elif LAUNCHED not in os.environ:  # the launcher says it better
        reason = str(error).partition("\n")[0]
        print(f"connect: lost another process ({reason}).", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(LOST if lost(error) else 1)
