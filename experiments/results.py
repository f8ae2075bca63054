"""Where a study leaves what it found: a folder a run, and parts to go on from."""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cattrs import BaseValidationError
from cattrs.preconf.json import make_converter

from tele_jax.runs import RunDirectory, digest_of_code, fingerprint, open_folder
from tele_jax.runs.provenance import differences

Value = TypeVar("Value")

_converter = make_converter()
_converter.register_unstructure_hook(np.ndarray, lambda array: array.tolist())
_converter.register_structure_hook(np.ndarray, lambda numbers, _: np.array(numbers))


_DESCRIPTION = {"config.json", "environment.json", "log.txt", "lock", "owner.json"}
"""What is in a folder before anything is done."""


def new_folder(parent: Path, name: str) -> Path:
    """``parent/<time>-<name>``, for ``opened``."""
    now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")[:-3]
    return parent / f"{now}-{name}"


@dataclasses.dataclass(frozen=True)
class Folder:
    """The folder of a study that runs."""

    path: Path
    config: Any
    progress: bool
    """Whether to show progress bars."""
    override: Sequence[str]

    def part(self, name: str, kind: type[Value], compute: Callable[[], Value]) -> Value:
        """A part of the study: computed, or read if a run before this one did it.

        Args:
          name: of the part, unique in the study.
          kind: of its value, made of dataclasses, tuples, lists, numbers and arrays.
          compute: what gives the value.
        """
        path = self.path / "parts" / f"{_slug(name)}.json"
        if path.exists():
            return self._read(path, name, kind)
        value = compute()
        content = {"name": name, "value": _converter.unstructure(value, kind)}
        with _whole(path) as file:
            file.write(json.dumps(content).encode())
        return value

    def _read(self, path: Path, name: str, kind: type[Value]) -> Value:
        try:
            content = json.loads(path.read_text())
            if content["name"] == name:
                return _converter.structure(content["value"], kind)
            reason = f"it is that of {content['name']!r}"
        except (ValueError, KeyError, TypeError, BaseValidationError) as error:
            reason = f"{type(error).__name__}"
        raise ValueError(
            f"{path} is not the part {name!r} of this study ({reason}); remove the "
            "file to compute it again."
        )

    def table(
        self, name: str, key: Mapping[str, Any], compute: Callable[[], list[Any]]
    ) -> None:
        """Rows of a cell of the study: kept, or there from a run before this one.

        A Parquet file of its own in ``cells``, with the key in its metadata and a
        digest of the key in its name.

        Args:
          name: of the cell, for people.
          key: what decides the rows; JSON can write it.
          compute: what gives the rows, mappings of equal keys.
        """
        text = json.dumps(key, sort_keys=True)
        path = self.path / "cells" / f"{_slug(name)}-{digest_of(key)}.parquet"
        if path.exists():
            return
        rows = compute()
        names = dict.fromkeys(column for row in rows for column in row)
        table = pa.table({name: [row.get(name) for row in rows] for name in names})
        table = table.replace_schema_metadata({"cell": text})
        with _whole(path) as file:
            pq.write_table(table, file)

    def refuse_other_tables(self, common: Mapping[str, Any]) -> None:
        """Do not mix rows of one study with those of another.

        Args:
          common: what the keys of all tables have in common.

        Raises:
          ValueError: there is a table with something else; with what.
        """
        for path in sorted((self.path / "cells").glob("*.parquet")):
            key = json.loads(pq.read_schema(path).metadata[b"cell"])
            before = {name: key.get(name) for name in common}
            found = differences(before, common).items()
            told = [f"{name} was {old} and is now {new}" for name, (old, new) in found]
            if told:
                raise ValueError(
                    f"{path} is of another study ({'; '.join(told)}); remove it, or "
                    "name another folder."
                )

    def directory(self, name: str, data: Any = None) -> RunDirectory:
        """Where ``drive`` keeps a run of the study."""
        return RunDirectory(
            self.path / "runs" / _slug(name), self.config, data, self.override
        )

    def forget(self, name: str) -> None:
        """Remove the directories of runs whose results are kept elsewhere.

        Those of this name, and of longer ones that begin with it.
        """
        for path in (self.path / "runs").glob("*"):
            if path.name == _slug(name) or path.name.startswith(f"{_slug(name)}-"):
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def opened(
    path: Path,
    config: Any,
    *,
    resume: bool = False,
    force: bool = False,
    override: Sequence[str] = (),
    progress: bool = True,
) -> Iterator[Folder]:
    """A folder to fill, for this process alone.

    It says from the start what is made and by what. If the block raises, a new folder
    in which there is nothing yet goes; all others stay.

    Raises:
      ValueError: the folder cannot be used, or holds a run and is neither to be resumed
        nor to be thrown away; nothing has run then.
    """
    if path.exists() and not (resume or force):
        raise ValueError(
            f"{path} exists; add --resume to go on with it, or --force to throw it "
            "away."
        )
    parents = [folder for folder in (path, *path.parents) if not folder.exists()]
    made_by = {**fingerprint(), "study": digest_of_code(Path(__file__).parent)}
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            open_folder(path, config, made_by, override=override, force=force)
        )
        try:
            yield Folder(path, config, progress, override)
        except BaseException:
            if parents and {entry.name for entry in path.iterdir()} <= _DESCRIPTION:
                stack.close()
                shutil.rmtree(path)
                for folder in parents[1:]:
                    with contextlib.suppress(OSError):  # not empty: others are in it
                        folder.rmdir()
            raise


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write that is there when all of it is, and not before."""
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)


def digest_of(key: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that tell settings apart.

    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    True
    """
    text = json.dumps(key, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _slug(name: str) -> str:
    """The name as a file's: words and numbers."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that people can read."""
    path.write_text(json.dumps(content, indent=2, default=str) + "\n")


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a Parquet file of one row per mapping."""
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
