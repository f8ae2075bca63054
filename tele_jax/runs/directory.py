"""A folder that holds one run: what it is, how far it is, and who works on it."""

import contextlib
import dataclasses
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from tele_jax import processes
from tele_jax._progress import new_log
from tele_jax.run import Run
from tele_jax.runs.checkpoints import Checkpoints
from tele_jax.runs.guards import locked, logged
from tele_jax.runs.provenance import (
    among,
    config_to_json,
    differences,
    digest,
    environment,
    fingerprint,
)
from tele_jax.runs.record import Record


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """Where ``drive`` keeps a run, and finds it again.

    The folder holds ``config.json``, ``environment.json`` (versions, devices, flags,
    git commit, digests), ``metrics/`` (one Parquet file per chunk), ``checkpoints/``
    and ``log.txt``. A run that was stopped, in whatever way, goes on from its newest
    checkpoint, bit by bit as if it had not been; one that is complete is read.

    >>> import jax, jax.numpy as jnp, tele_jax as tele
    >>> from tele_jax.driver import drive
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=4)
    >>> def chunk(num_rounds, resume):
    ...     algorithm = tele.DSGD(tele.graphs.ring(8), 0.5)
    ...     return tele.simulate(algorithm, task, jnp.ones(4), jax.random.key(1),
    ...                          num_rounds=num_rounds, resume=resume)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     directory = RunDirectory(f"{folder}/run", {"learning_rate": 0.5}, task)
    ...     _ = drive(chunk, num_rounds=10, rounds_per_chunk=5, directory=directory)
    ...     run = drive(chunk, num_rounds=20, rounds_per_chunk=5, directory=directory)
    >>> run.rounds.tolist()  # the second call went on where the first one ended
    [0, 5, 10, 15, 20]
    """

    path: Path | str
    """The folder; made if it is not there."""
    config: Any
    """What was asked for: a dataclass, or a dict. It decides whether a run goes on."""
    data: Any = None
    """A pytree whose digest is kept, such as the task: other data, another run."""
    override: Sequence[str] = ()
    """Names that may differ from the run that is there: fields of the config (those of
    a nested one as ``recipe.rate``, or all as ``recipe``), ``code`` (of this package),
    ``data``, ``start`` (the first models), ``metrics``, ``device``, ``devices``,
    ``XLA_FLAGS`` or a package. Safe for what changes no number, as where results go;
    otherwise the run is not what its config says, and the log tells."""
    force: bool = False
    """Throw away the run that is there."""

    @contextlib.contextmanager
    def open(self, start: Run) -> Iterator[Record]:
        """The record of the run, for this process alone.

        Raises:
          ValueError: the folder cannot be written, is not a run's or another process
            has it, holds another config, data or code, or all in it is damaged.
        """
        path = Path(self.path)
        with open_folder(
            path,
            self.config,
            {**fingerprint(self.data), **_begun_as(start)},
            override=self.override,
            force=self.force,
        ) as log:
            checkpoints = Checkpoints(path / "checkpoints")
            try:
                record = Record(path, checkpoints, start, log)
                del start  # its models would stay in memory all the time
                yield record
            finally:
                checkpoints.close()


def _begun_as(start: Run) -> dict[str, Any]:
    """What else tells one run from another: its first models, and what it measures."""
    measured = {
        name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in start.metrics.items()
    }
    leaves = jax.tree.leaves(start.state)
    return {
        "start": digest(start.state),
        "metrics": measured,
        "devices": max(len(leaf.sharding.device_set) for leaf in leaves),
    }


@contextlib.contextmanager
def open_folder(
    path: Path,
    config: Any,
    made_by: Mapping[str, Any],
    *,
    override: Sequence[str] = (),
    force: bool = False,
) -> Iterator[logging.Logger]:
    """A folder that says what made it, locked, and with a log.

    Args:
      path: the folder; made if it is not there.
      config: what was asked for, a dataclass or a dict.
      made_by: what else has to be the same to go on, such as ``fingerprint(data)``.
      override: names of the config or of ``made_by`` that may differ all the same.
      force: throw away what is there.

    Raises:
      ValueError: it cannot be written, belongs to something else or to another process,
        or was made by another config, data or code.
    """
    identity = {"config": json.loads(config_to_json(config)), "made_by": dict(made_by)}
    for part in identity.values():
        processes.check_alike("RunDirectory", part)
    opened = _opened(path, config, identity, override, force)
    with processes.first_opens(opened, new_log(str(path))) as log:
        if not (path / "environment.json").exists():
            raise ValueError(
                f"RunDirectory: process {jax.process_index()} does not see {path}; "
                "name a folder on a disk that all processes share."
            )
        yield log


@contextlib.contextmanager
def _opened(
    path: Path,
    config: Any,
    identity: dict[str, Any],
    override: Sequence[str],
    force: bool,
) -> Iterator[logging.Logger]:
    """The same, on the process that writes."""
    _create(path, config, identity)
    with locked(path):
        stored = _identity_of(path)
        if force:
            _empty(path)
            _describe(path, config, identity)
            stored = identity
        with logged(path) as log:
            _compare(path, stored, identity, override, log)
            yield log


def _identity_of(path: Path) -> dict[str, Any]:
    """What made the folder, by its own word."""
    try:
        return json.loads((path / "environment.json").read_text())["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"RunDirectory: {path} is no folder of a run, or its environment.json is "
            "damaged; restore that file, or name another folder."
        ) from None


def _empty(path: Path) -> None:
    """Throw away all but what says whose folder it is."""
    kept = ("lock", "owner.json", "config.json", "environment.json")
    for entry in path.iterdir():
        if entry.name in kept:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _compare(
    path: Path,
    stored: dict[str, Any],
    identity: dict[str, Any],
    override: Sequence[str],
    log: logging.Logger,
) -> None:
    """Refuse to go on with something else."""
    found = [
        (name, old, new)
        for part in ("config", "made_by")
        for name, (old, new) in differences(stored[part], identity[part]).items()
    ]
    refused = not all(among(name, override) for name, _, _ in found)
    told = [f"{name} was {old!r} and is now {new!r}" for name, old, new in found]
    changes = "; ".join(told)
    if refused:
        names = " ".join(name for name, _, _ in found)
        raise ValueError(
            f"RunDirectory: {path} holds another run ({changes}). Name another folder, "
            f"throw this run away (force), or go on with it (override {names})."
        )
    if found:
        log.warning("%s goes on, though %s", path, changes)


def _create(path: Path, config: Any, identity: dict[str, Any]) -> None:
    """A new folder with its description, or the one that is there."""
    if (path / "environment.json").exists():
        return
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(
            f"RunDirectory: {path} exists and is no folder of a run; name another."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            _describe(unfinished, config, identity)
            unfinished.chmod(0o755)
            unfinished.rename(path)
        except BaseException:
            shutil.rmtree(unfinished)
            raise
    except OSError as error:
        if (path / "environment.json").exists():  # another process was faster
            return
        raise ValueError(
            f"RunDirectory: cannot write to {path.parent} ({error.strerror}); name "
            "another folder."
        ) from error


def _describe(path: Path, config: Any, identity: dict[str, Any]) -> None:
    described = {**environment(), "identity": identity}
    _write(path / "config.json", config_to_json(config))
    _write(path / "environment.json", json.dumps(described, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    """Write a file at once: it is never seen half."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(text)
    unfinished.rename(path)
