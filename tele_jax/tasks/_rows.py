"""Rows of numbers that are read from a table far larger than the cache."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tele_jax._once import once
from tele_jax._types import Array

_NARROW = 400
"""Bytes. Of longer rows XLA copies several numbers at a time, and reads ahead."""
_FEW = 2**16
"""Bytes of all rows. More of them are worth two threads."""
_IN_CACHE = 2**18
"""Bytes of a table that a core has at hand; XLA shares no loop over so few."""
_LINE = 64
"""Bytes that a CPU reads from memory together."""


@jax.custom_jvp
def row_of(table: Array, index: Array) -> Array:
    """``table[index]``; under ``vmap`` over the index, rows that lie far apart.

    XLA's CPU compiler copies a narrow row number by number, so that a core waits for
    one row before it comes to the next, and the larger the table is, the more threads
    share even a few rows. Here one number of every line of memory is read first: these
    are few, so that the core waits for all of them together. With 16 of 10⁷ rows of 65
    numbers, a round of TELEPORTATION takes 0.9 of the time.

    Args:
      table: [n, d].
      index: an integer from 0 to n − 1.

    Returns:
      [d].

    >>> table = jnp.arange(6.0).reshape(3, 2)
    >>> jax.vmap(row_of, (None, 0))(table, jnp.array([2, 0])).tolist()
    [[4.0, 5.0], [0.0, 1.0]]
    """
    return _rows(table, index)


@row_of.defjvp
def _row_of_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Any]
) -> tuple[Array, Array]:
    table, index = primals
    return row_of(table, index), tangents[0][index]


@jax.custom_batching.custom_vmap
def _rows(table: Array, indices: Array) -> Array:
    """``table[indices]``, indices of any shape."""
    row_bytes = table.shape[1] * table.dtype.itemsize
    few = row_bytes <= _NARROW and row_bytes * indices.size <= _FEW
    if indices.ndim == 0 or not few or len(table) * row_bytes <= _IN_CACHE:
        return table[indices]
    return lax.platform_dependent(table, indices, cpu=_lines_first, default=_plain)


@_rows.def_vmap
def _rows_of_more(
    axis_size: int, in_batched: list[bool], table: Array, indices: Array
) -> tuple[Array, bool]:
    del axis_size
    if in_batched[0]:
        axes = tuple(0 if batched else None for batched in in_batched)
        return jax.vmap(_plain, axes)(table, indices), True
    return _rows(table, indices), True


def _plain(table: Array, indices: Array) -> Array:
    return table[indices]


def _lines_first(table: Array, indices: Array) -> Array:
    """What makes ``_plain`` wait, all at once, and then ``_plain``."""
    flat = indices.ravel()
    width = table.shape[1]
    # A row does not begin with a line: its last number may be in one more.
    starts = np.arange(0, width, _LINE // table.itemsize)
    places = np.union1d(starts, width - 1)
    lines = _in_one_thread(table[flat[:, None], places], flat)
    flat, _ = once((flat, lines))
    rows = once(_in_one_thread(table[flat], flat))
    return rows[:-1].reshape(*indices.shape, width)


def _in_one_thread(rows: Array, indices: Array) -> Array:
    """The rows, and one more.

    XLA never shares a loop between threads that writes to a part of an array. That it
    is all but one row, from the first on, must not be seen by the compiler.
    """
    start = (jnp.minimum(indices[0], 0), 0)
    longer = jnp.zeros((len(rows) + 1, *rows.shape[1:]), rows.dtype)
    return lax.dynamic_update_slice(longer, rows, start, allow_negative_indices=False)
