"""What a simulation returns, and how to hold it: to read, to index, to join."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tele_jax._types import Array, Metrics
from tele_jax.algorithms.base import Info


@struct.dataclass
class Run:
    """What ``simulate`` returns; batched by ``vmap`` like everything else.

    It prints as a short summary. Of a sweep, an index gives a run, or fewer runs:

    >>> import tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=3)
    >>> ring, start, key = tele.graphs.ring(8), jnp.ones(3), jax.random.key(1)
    >>> def run(rate):
    ...     return tele.simulate(tele.DSGD(ring, rate), task, start, key, num_rounds=20)
    >>> runs = jax.vmap(run)(jnp.array([0.01, 0.1, 0.5]))
    >>> runs.rounds.shape, runs[2].rounds.shape, runs[:2].rounds.shape
    ((3, 2), (2,), (2, 2))
    >>> [float(one.metrics["loss"][-1]) < 0.4 for one in runs]
    [False, False, True]
    """

    state: Any
    """The state after the last round; ``state.params`` has leaves [k, ...]."""
    rounds: Array
    """int32[e]: how many rounds were done at each evaluation."""
    metrics: Metrics
    """What ``observe`` returned at each evaluation, leaves [e, ...]."""
    info: Info
    """What every round reported, leaves [num_rounds]."""

    def __getitem__(self, index: Any) -> "Run":
        """One run, or some, of a sweep.

        Args:
          index: as of an array with the sweep's axes.

        Raises:
          TypeError: this is one run already.
          IndexError: there are fewer runs, or fewer axes.
        """
        return part_of(
            *(self, np.shape(self.rounds)[:-1], index, ("run", "runs")),
            instead="run.metrics, run.rounds, run.info or run.state",
        )

    def __repr__(self) -> str:
        """A summary of the run; of a sweep, of all its runs."""
        leaves = jax.tree.leaves((self.rounds, self.metrics, self.info))
        known = all(has_numbers(leaf) for leaf in leaves) and np.size(self.rounds)
        if not (known and hasattr(self.state, "params")):
            fields = (f"{name}={value!r}" for name, value in vars(self).items())
            return f"Run({', '.join(fields)})"
        return _summary(self)


def concatenate(*runs: Run) -> Run:
    """Runs of which each was resumed from the one before, as one; batched ones too.

    >>> import functools
    >>> import tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=8)
    >>> go = functools.partial(
    ...     tele.simulate, tele.DSGD(tele.graphs.ring(8), 0.5), task, jnp.ones(8),
    ...     jax.random.key(1), num_rounds=5)
    >>> run = go()
    >>> concatenate(run, go(resume=run)).rounds.tolist()
    [0, 5, 10]
    """
    axis = runs[0].rounds.ndim - 1
    rounds, measured, info = jax.tree.map(
        lambda *parts: jnp.concatenate(parts, axis=axis),
        *((run.rounds, run.metrics, run.info) for run in runs),
    )
    return Run(runs[-1].state, rounds, measured, info)


def num_slots(run: Run) -> int:
    """k, from the models of a run or of a sweep."""
    leaf = jax.tree.leaves(run.state.params)[0]
    return int(leaf.shape[np.ndim(run.rounds) - 1])


def part_of(
    sweep: Any,
    batch: tuple[int, ...],
    index: Any,
    names: tuple[str, str],
    instead: str,
) -> Any:
    """A part of a pytree whose leaves have the axes of a sweep in front.

    Args:
      sweep: a ``Run`` or a ``Search``.
      batch: the sizes of those axes.
      index: as of an array with these axes.
      names: of one and of many.
      instead: what to look at where there is only one.
    """
    who = type(sweep).__name__
    if not batch:
        raise TypeError(
            f"{who}: got an index, but this is one {names[0]} and not a sweep; look at "
            f"{instead}."
        )
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, jax.core.Tracer) for part in parts):
        return jax.tree.map(lambda leaf: leaf[index], sweep)
    try:  # jax would take the nearest that there is
        chosen = np.arange(math.prod(batch)).reshape(batch)[index]
    except IndexError as error:
        shape = " × ".join(map(str, batch))
        words = f"{who}: {error}; this is a sweep of {shape} {names[1]}."
        raise IndexError(words) from None

    def choose(leaf: Array) -> Array:
        return leaf.reshape(-1, *leaf.shape[len(batch) :])[chosen]

    return jax.tree.map(choose, sweep)


def has_numbers(leaf: Any) -> bool:
    """Not while jax traces, nor in a tree of shapes or axes."""
    if isinstance(leaf, jax.core.Tracer):
        return False
    return isinstance(leaf, (np.ndarray, jax.Array))


def _summary(run: Run) -> str:
    *batch, count = np.shape(run.rounds)
    last = int(np.ravel(run.rounds)[-1])
    first = last - np.shape(run.info.loss)[-1]
    took = f"rounds {first + 1:,} to {last:,}" if first else f"{last:,} rounds"
    what = f"{took}, {num_slots(run)} slots, evaluated at {count}"
    sweep = f"{' × '.join(map(str, batch))} runs of " if batch else "Run of "
    columns = ("start", "end") if not batch else ("start", "end", "lowest", "highest")
    rows: list[tuple[str, ...]] = []
    broken = np.zeros(batch, bool)
    for name, leaf in run.metrics.items():
        values = np.asarray(leaf)
        if values.ndim != len(batch) + 1:
            shape = ", ".join(map(str, values.shape))
            rows.append((name, f"{values.dtype}[{shape}]"))
            continue
        broken |= ~np.isfinite(values[..., -1])
        rows.append((name, *_row(values[..., 0], values[..., -1])))
    lines = [sweep + what]
    if rows:
        lines.append(_line("", *columns))
        lines += [_line(*row) for row in rows]
    if batch and rows:
        lines.append("start and end are medians over the runs that are finite")
    if broken.any():
        told = f"{int(broken.sum())} of {broken.size} runs end" if batch else "it ends"
        lines.append(f"diverged: {told} with values that are not finite")
    return "\n".join(lines)


def _row(start: np.ndarray, end: np.ndarray) -> list[str]:
    """Of one run its two numbers; of more their medians and the range at the end."""
    if not start.shape:
        numbers = [start, end]
    else:
        start, end = (part[np.isfinite(part)] for part in (start, end))
        if not len(end):
            end = np.array([np.nan])
        middle = np.median(start) if len(start) else end[0]
        numbers = [middle, np.median(end), end.min(), end.max()]
    return [f"{float(number):.4g}" for number in numbers]


def _line(name: str, *cells: str) -> str:
    return f"  {name:<22}" + "".join(f"{cell:>12}" for cell in cells)
