"""Start processes that simulate together on this machine, and end them together.

    python -m tele_jax.launch 4 script.py --its --flags
    python -m tele_jax.launch 4 -m package.module --its --flags

The script calls ``tele_jax.connect()`` first of all. The terminal shows process 0. As
soon as a process dies the others are stopped, and what it said last is shown. On a
cluster SLURM or Kubernetes start the processes; the GPUs of one machine need only one,
whose slots they share.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO

from tele_jax.connection import ADDRESS, INDEX, LAUNCHED, LOST, NUMBER

Process = subprocess.Popen[bytes]

_PATIENCE_S = 5.0
"""Between asking a process to end and killing it."""
_SHOWN = 2000
"""Characters of what a dead process said last."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m tele_jax.launch",
        description="Start processes that simulate together on this machine.",
    )
    parser.add_argument("number", type=int, help="how many processes")
    parser.add_argument(
        "command",
        nargs=argparse.REMAINDER,
        help="a script, or -m and a module, with its flags",
    )
    given = parser.parse_args(arguments)
    if given.number < 1:
        parser.error(f"got {given.number} processes, expected at least 1")
    if not given.command:
        parser.error("got no script, expected one, or -m and a module")
    script = given.command[0]
    if not script.startswith("-") and not os.path.exists(script):
        parser.error(f"got script {script}, which does not exist")
    return launch(given.number, given.command)


def launch(number: int, command: Sequence[str]) -> int:
    """Start them, and wait; 0 if all end well, else the exit code of the first to die.

    Args:
      number: how many processes.
      command: what follows ``python``.
    """
    caught: list[int] = []
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda heard, _: caught.append(heard))
    with contextlib.ExitStack() as stack:
        said: list[IO[bytes] | None] = [None]
        for _ in range(1, number):
            said.append(stack.enter_context(tempfile.TemporaryFile()))
        started: list[Process] = []
        stack.callback(_stop, started)
        _start(command, said, started)
        codes = _wait(started, caught)
        if not any(codes):
            return 0
        dead = _culprit(codes)
        _stop(started)
        if (output := said[dead]) is not None:
            output.seek(0)
            sys.stderr.write(output.read().decode(errors="replace")[-_SHOWN:])
    return _tell(started, dead, caught)


def _tell(started: list[Process], dead: int, caught: list[int]) -> int:
    """Say in one sentence why all have ended; returns the exit code."""
    code, number = started[dead].returncode, len(started)
    again = "a run with a directory goes on from its newest checkpoint when it is "
    if caught:
        name = signal.Signals(caught[0]).name
        words = f"got {name}, and stopped all {number} processes; {again}started again"
        code = -caught[0]
    elif code < 0:
        name = signal.Signals(-code).name
        words = f"process {dead} of {number} ended by signal {name}, so all were "
        words += f"stopped; {again}started again"
    else:
        words = (
            f"process {dead} of {number} ended with code {code}, so all were stopped"
        )
    print(f"launch: {words}.", file=sys.stderr)
    return 128 - code if code < 0 else code


def _start(
    command: Sequence[str], said: Sequence[IO[bytes] | None], started: list[Process]
) -> None:
    """A process for each place to write to; None is the terminal."""
    address = f"127.0.0.1:{_free_port()}"
    told = {ADDRESS: address, NUMBER: str(len(said)), LAUNCHED: "1"}
    shared = {**os.environ, **told}
    for index, output in enumerate(said):
        started.append(
            subprocess.Popen(
                [sys.executable, *command],
                env={**shared, INDEX: str(index)},
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C comes once, by way of the launcher
            )
        )


def _wait(started: list[Process], caught: list[int]) -> list[int | None]:
    """Until all have ended or one has failed.

    The first signal is handed on, so that a driven run stops with a checkpoint; the
    second stops all.
    """
    handed = 0
    while (codes := [process.poll() for process in started]).count(None):
        if any(codes):
            break
        if len(caught) > 1:
            _stop(started)
        elif len(caught) > handed:
            handed = 1
            for process in started:
                process.send_signal(caught[0])
        time.sleep(0.05)
    return codes


def _stop(started: list[Process]) -> None:
    """End those that are left."""
    # The others wait for it within a program of XLA, where no Python signal is heard.
    for process in started:
        process.terminate()
    deadline = time.monotonic() + _PATIENCE_S
    for process in started:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _culprit(codes: Sequence[int | None]) -> int:
    """The process that died of itself; jax aborts those that lost another one."""
    dead = [index for index, code in enumerate(codes) if code]
    return next((i for i in dead if codes[i] not in (-signal.SIGABRT, LOST)), dead[0])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
