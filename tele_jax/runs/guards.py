"""What stands around the work in a run directory: its lock and its log."""

import contextlib
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tele_jax._progress import new_log


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else works in the folder. The system frees the lock of a dead process."""
    owner = path / "owner.json"
    try:
        lock = FileLock(path / "lock", timeout=0)
        lock.acquire()
    except Timeout:
        told = "another process"
        with contextlib.suppress(OSError, ValueError, KeyError):
            known = json.loads(owner.read_text())
            minutes = (time.time() - known["since"]) / 60
            told = (
                f"process {known['process']} on {known['host']}, for {minutes:.0f} "
                "minutes"
            )
        raise ValueError(
            f"RunDirectory: {told} is at work in {path}; wait for it, stop it, or name "
            "another folder."
        ) from None
    except OSError as error:
        raise ValueError(
            f"RunDirectory: cannot write to {path} ({error.strerror}); name another "
            "folder."
        ) from error
    try:
        known = {"process": os.getpid(), "host": platform.node(), "since": time.time()}
        owner.write_text(json.dumps(known))
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def logged(path: Path) -> Iterator[logging.Logger]:
    """A logger that also writes to ``log.txt`` what it is told, and when."""
    log, orbax = new_log(str(path)), logging.getLogger("absl")
    handler = _Patient(path / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.info("process %d on %s", os.getpid(), platform.node())
    # What Orbax says in its own words goes here as well, and only here.
    orbax.addHandler(handler)
    propagates, orbax.propagate = orbax.propagate, False
    try:
        yield log
    finally:
        orbax.propagate = propagates
        orbax.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()


class _Patient(logging.FileHandler):
    """A handler for which a full disk is no reason to flood the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:
        """The run itself says that the disk is full."""
