"""A run to be killed: a process of its own, which test_killed.py starts.

    python -m tests.runs.victim ALGORITHM FOLDER NUM_ROUNDS DEATH

DEATH is when the process sends itself SIGKILL: "seconds:1.2" after its first chunk,
"curves:3" within the third write of curves, "checkpoint:2" within the second write of a
checkpoint; or "never". "sigterm:3" is SIGTERM in its third chunk, and "full:1500" a
disk without space for files of more bytes. A run that gets to its end leaves
FOLDER/whole.npz.
"""

import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np

from tele_jax.driver import drive
from tele_jax.runs import RunDirectory, curves
from tests.runs import cases

PER_CHUNK, PER_CHECKPOINT = 4, 8


def die():
    """As a power cut would have it."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_within_curves(number):
    """The checksum is taken between writing the file and renaming it."""
    taken, checksum = [], curves._checksum

    def deadly(path):
        if path.name.startswith("."):
            taken.append(path)
        if len(taken) == number:
            die()
        return checksum(path)

    curves._checksum = deadly


def die_within_checkpoint(folder, number):
    """A thread watches for the folders that Orbax renames when they are whole."""

    def watch():
        seen = set()
        while len(seen) < number:
            seen |= {path.name for path in folder.glob("*tmp*")}
        die()

    threading.Thread(target=watch, daemon=True).start()


def main(name, folder, num_rounds, death):
    """Drive the run, and do what DEATH says."""
    how, _, when = death.partition(":")
    folder, calls = Path(folder), []

    def chunk(num_rounds, resume):
        calls.append(num_rounds)
        if how == "seconds" and len(calls) == 2:
            threading.Timer(float(when), die).start()
        if how == "sigterm" and len(calls) == 1 + int(when):
            os.kill(os.getpid(), signal.SIGTERM)
        if how != "never":
            time.sleep(0.01)  # or it would be over before it can be killed
        return cases.chunk(name, num_rounds, resume)

    if how == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(when), int(when)))
    if how == "curves":
        die_within_curves(int(when))
    if how == "checkpoint":
        die_within_checkpoint(folder / "run" / "checkpoints", int(when))
    run = drive(
        chunk,
        num_rounds=num_rounds,
        rounds_per_chunk=PER_CHUNK,
        rounds_per_checkpoint=PER_CHECKPOINT,
        directory=RunDirectory(folder / "run", {"name": name}),
    )
    np.savez(folder / "whole.npz", *jax.tree.leaves(run))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
