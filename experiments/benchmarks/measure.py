"""Timing programs against each other on a machine that is not ours alone."""

import os
import platform
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

Record = dict[str, Any]
"""One line of a table: column name to value."""
Program = Callable[[], Any]
"""Does the work and returns arrays, which need not be ready yet."""


def seconds(program: Program) -> float:
    """How long a program takes until its arrays are ready."""
    start = time.perf_counter()
    jax.block_until_ready(program())
    return time.perf_counter() - start


def rate(program: Program, steps: int, repeats: int) -> float:
    """Steps a second: the median over calls, after one that is not counted."""
    jax.block_until_ready(program())
    return steps / float(np.median([seconds(program) for _ in range(repeats)]))


def alternate(first: Program, second: Program, pairs: int) -> np.ndarray:
    """Seconds of two programs in turns, A B A B ..., float[pairs, 2].

    Both run once before, to be compiled. Noise that lasts longer than a pair falls
    on both, so the quotient of a pair is steadier than either of its times.
    """
    for program in (first, second):
        jax.block_until_ready(program())
    return np.array([(seconds(first), seconds(second)) for _ in range(pairs)])


def quotient(numerator: np.ndarray, denominator: np.ndarray) -> Record:
    """The median quotient of pairs and its quartiles."""
    low, median, high = np.quantile(numerator / denominator, [0.25, 0.5, 0.75])
    told = f"{low:.3g} to {high:.3g}"
    return dict(ratio=float(median), low=float(low), high=float(high), quartiles=told)


def judged(
    record: Record, at_least: float = -np.inf, at_most: float = np.inf
) -> Record:
    """The record with what is expected of its ratio, and whether it is so."""
    limit = at_least if at_most == np.inf else at_most
    target = f"at {'least' if at_most == np.inf else 'most'} {round(limit, 2):g}"
    met = at_least <= record["ratio"] <= at_most
    return {**record, "limit": limit, "target": target, "met": "yes" if met else "no"}


def markdown(records: list[Record]) -> str:
    """A table with a column for every key of the records, but for repeated numbers."""
    keys = dict.fromkeys(key for record in records for key in record)
    columns = [key for key in keys if key not in ("low", "high", "limit")]
    lines = [columns, ["---"] * len(columns)]
    lines += [[_cell(record.get(key, "")) for key in columns] for record in records]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def num_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment() -> Record:
    """What the numbers depend on."""
    device = jax.devices()[0]
    return {
        "jax": jax.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": f"{device.platform}: {device.device_kind}",
        "devices": jax.device_count(),
        "cores": num_cores(),
        "load before": os.getloadavg()[0] if hasattr(os, "getloadavg") else "",
    }
