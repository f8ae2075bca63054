"""Where a study leaves what it found: one folder a run, complete or not there."""

import contextlib
import dataclasses
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import pyarrow as pa
import pyarrow.parquet as pq


def new_folder(parent: Path, name: str) -> Path:
    """``parent/<time>-<name>``, for ``writing``."""
    now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")[:-3]
    return parent / f"{now}-{name}"


@contextlib.contextmanager
def writing(final: Path, config: Any) -> Iterator[Path]:
    """A folder to fill, which becomes ``final`` when the block is through.

    It holds ``config.json`` and ``environment.json`` from the start. If the block
    raises, nothing is left behind.

    Raises:
      ValueError: the folder cannot be made; nothing has run then.
    """
    parent = final.parent
    created = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=parent))
    except OSError as error:
        raise ValueError(
            f"results: cannot write to {parent} ({error.strerror}); name another "
            "folder with --results."
        ) from error
    try:
        write_json(unfinished / "config.json", dataclasses.asdict(config))
        write_json(unfinished / "environment.json", environment())
        yield unfinished
        unfinished.chmod(0o755)
        unfinished.rename(final)
    except BaseException:
        shutil.rmtree(unfinished)
        for folder in created:
            with contextlib.suppress(OSError):  # not empty: another run is in it
                folder.rmdir()
        raise


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that people can read."""
    path.write_text(json.dumps(content, indent=2, default=str) + "\n")


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a Parquet file of one row per mapping."""
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)


def environment() -> dict[str, Any]:
    """What a reader needs to know to get the same numbers."""
    packages = ("tele_jax", "jax", "jaxlib", "flax", "optax", "numpy")
    return {
        "command": ["python", *sys.orig_argv[1:]],
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
        "devices": [str(device) for device in jax.devices()],
        "cpu_cores": os.cpu_count(),
        "platform": platform.platform(),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changes": _git("status", "--porcelain"),
    }


def _git(*arguments: str) -> str | None:
    """What git says of the code that runs; None where it is not a checkout."""
    here = Path(__file__).parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True
        )
    except FileNotFoundError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
