"""Rows of numbers that are read from a table far larger than the cache."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tele_jax._once import in_memory
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
    one row before it asks for the next, and it shares the loop over even a few rows
    between threads if the table is large. Here one thread first reads one number of
    every line of memory: these are so few that it asks for all before the first is
    there. With 16 of 10⁷ rows of 65 numbers, a round of TELEPORTATION takes 0.9 of the
    time on two cores.

    Args:
      table: [n, d].
      index: an integer.

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
    if not _is_worth_it(table, indices):
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


def _is_worth_it(table: Array, indices: Array) -> bool:
    """Whether these are a few narrow rows of a large table, of one run."""
    sizes = (*table.shape, *indices.shape)
    # ``jax.export`` may leave sizes open. Runs may be shared between devices.
    if indices.ndim != 1 or not all(isinstance(size, int) for size in sizes):
        return False
    row = table.shape[1] * table.dtype.itemsize
    return (
        indices.dtype == jnp.int32
        and 0 < row <= _NARROW
        and 0 < row * indices.size <= _FEW
        and row * table.shape[0] > _IN_CACHE
    )


def _lines_first(table: Array, indices: Array) -> Array:
    """What makes ``_plain`` wait, all at once, and then ``_plain``."""
    width, per_line = table.shape[1], _LINE // table.dtype.itemsize
    # A row does not begin with a line: its last number may be in one more. (Not a
    # constant of NumPy: those become batched under a ``cond`` that is.)
    one_per_line = per_line * jnp.arange(-(-(width - 1) // per_line) + 1)
    columns = jnp.minimum(one_per_line, width - 1)
    read = _by_one_thread(table[indices[:, None], columns], indices)
    indices, _ = in_memory((indices, read))  # the rows are copied after that
    return in_memory(_by_one_thread(table[indices], indices))[:-1]


def _by_one_thread(rows: Array, indices: Array) -> Array:
    """The rows, and one of zeros.

    XLA never shares a loop between threads that writes to a part of an array. Where the
    part begins, at 0, is computed, as otherwise XLA would make the array by padding.
    """
    first = jnp.minimum(indices[0], 0)  # a negative one is taken for 0 as well
    longer = jnp.zeros((rows.shape[0] + 1, *rows.shape[1:]), rows.dtype)
    return lax.dynamic_update_slice(
        longer, rows, (first, jnp.zeros_like(first)), allow_negative_indices=False
    )
