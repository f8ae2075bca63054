"""The curves of a run on disk: a folder with one Parquet file per chunk."""

import dataclasses
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tele_jax import processes
from tele_jax.algorithms.base import reported
from tele_jax.run import Run


class Curves:
    """Rounds, metrics and info of a run, one row for every round.

    The row of round r tells of the state after r rounds: what ``info`` says of the last
    of them, as ``round_loss`` and ``round_messages``, and, where it was evaluated, the
    metrics; elsewhere these are null. Row 0 is the start. A batched run has its indices
    in front, as ``index_0``, ….

    A file ``rounds-<first>-<last>-<checksum>.parquet`` is written beside its place and
    renamed into it, so that a reader finds whole files only, also while the run goes
    on. Parquet's own checksums leave out what names and orders the columns.
    """

    def __init__(self, folder: Path, start: Run) -> None:
        # Not its models, which would stay in memory all the time.
        self._folder, self._start = folder, dataclasses.replace(start, state=None)
        self._batch = np.shape(start.rounds)[:-1]
        self._writes = processes.is_first()
        if self._writes:
            folder.mkdir(exist_ok=True)

    def add(self, chunk: Run, first: int, last: int) -> None:
        """Write rows first … last of a chunk, whose curves are on the host."""
        if not self._writes:
            return
        table = pa.table(dict(self._columns(chunk, first, last)))
        name = f"rounds-{first:012}-{last:012}"
        unfinished = self._folder / f".{name}.parquet"  # which readers pass over
        try:
            pq.write_table(table, unfinished)
            with unfinished.open("rb") as file:
                os.fsync(file.fileno())
            name = f"{name}-{_checksum(unfinished)}.parquet"
            unfinished.rename(self._folder / name)
        finally:
            unfinished.unlink(missing_ok=True)

    def parts(self) -> list[tuple[int, int, Path]]:
        """(first row, last row, file), in turn, up to the first gap."""
        found: list[tuple[int, int, Path]] = []
        for path in sorted(self._folder.glob("rounds-*.parquet")):
            first, last = map(int, path.stem.split("-")[1:3])
            if first != (found[-1][1] + 1 if found else 0):
                break
            found.append((first, last, path))
        return found

    def damage(self, last_round: int) -> str | None:
        """What is wrong with the rows up to a round; None if nothing is."""
        reached = -1
        for _, last, path in self.parts():
            if last > last_round:
                break
            if not path.stem.endswith(_checksum(path)):
                return f"{path.name} is damaged"
            reached = last
        if reached != last_round:
            return f"rows {reached + 1} to {last_round} are missing"
        return None

    def forget(self, last_round: int) -> None:
        """Remove the rows after a round, and what was never renamed into place."""
        if not self._writes:
            return
        kept = {path for _, last, path in self.parts() if last <= last_round}
        for pattern in ("rounds-*.parquet", ".rounds-*.parquet"):
            for path in self._folder.glob(pattern):
                if path not in kept:
                    path.unlink()

    def read(self, last_round: int, state: Any) -> Run:
        """All rows up to a round as a ``Run`` with this state.

        Put on the device as they are: ``jnp.asarray`` would compile for every length.
        """
        parts = [path for _, last, path in self.parts() if last <= last_round]
        tables = [pq.read_table(path) for path in parts]

        def join(name: str, like: Any) -> Any:
            columns = [_array(table, name, like, self._batch) for table in tables]
            joined = np.concatenate(columns, axis=len(self._batch))
            return jax.device_put(joined.astype(like.dtype))

        start = self._start
        metrics = {name: join(name, leaf) for name, leaf in start.metrics.items()}
        info = start.info._replace(
            **{
                name: join(f"round_{name}", leaf)
                for name, leaf in reported(start.info).items()
            }
        )
        evaluated = [_evaluated(table, self._batch) for table in tables]
        rounds = np.broadcast_to(
            np.concatenate(evaluated), (*self._batch, sum(map(len, evaluated)))
        )
        return Run(state, jax.device_put(rounds.astype(np.int32)), metrics, info)

    def _columns(
        self, chunk: Run, first: int, last: int
    ) -> Iterator[tuple[str, pa.Array]]:
        """Name and values of every column; the row of a round is last in the order."""
        rounds = np.arange(first, last + 1)
        size, length = int(np.prod(self._batch)), len(rounds)
        for axis, index in enumerate(np.indices(self._batch)):
            yield f"index_{axis}", pa.array(np.repeat(index.ravel(), length))
        yield "round", pa.array(np.tile(rounds, size))
        told = rounds[rounds > 0] - first
        for name, leaf in reported(chunk.info).items():
            yield f"round_{name}", self._column(leaf, told, length)
        evaluated = np.asarray(chunk.rounds).reshape(size, -1)[0] - first
        for name, leaf in chunk.metrics.items():
            yield name, self._column(leaf, evaluated, length)
        seen = np.zeros(length, bool)
        seen[evaluated] = True
        yield "evaluated", pa.array(np.tile(seen, size))

    def _column(self, leaf: Any, places: np.ndarray, length: int) -> pa.Array:
        """Values [batch, places, ...] in rows of their places, null elsewhere."""
        values = np.asarray(leaf)
        if values.dtype.name == "bfloat16":  # which Parquet has not
            values = values.astype(np.float32)
        size, count = int(np.prod(self._batch)), len(places)
        shape = values.shape[len(self._batch) + 1 :]
        values = values.reshape(size * count, int(np.prod(shape)))
        flat = pa.array(values.ravel())
        if shape:
            flat = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        take = np.full((size, length), -1)
        take[:, places] = np.arange(size * count).reshape(size, count)
        return flat.take(pa.array(take.ravel(), mask=take.ravel() < 0))


def _checksum(path: Path) -> str:
    return f"{zlib.crc32(path.read_bytes()):08x}"


def _evaluated(table: pa.Table, batch: Sequence[int]) -> np.ndarray:
    """The rounds that were evaluated, those of the first run of a batch."""
    length = table.num_rows // int(np.prod(batch))
    first = table.slice(0, length)
    return first["round"].to_numpy()[first["evaluated"].to_numpy()]


def _array(table: pa.Table, name: str, like: Any, batch: tuple[int, ...]) -> np.ndarray:
    """The values of a column that are not null, [batch, rows, ...]."""
    column = table[name].drop_null().combine_chunks()
    if pa.types.is_fixed_size_list(column.type):
        column = column.flatten()
    values = column.to_numpy(zero_copy_only=False)
    return values.reshape(*batch, -1, *np.shape(like)[len(batch) + 1 :])
