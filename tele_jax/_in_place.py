"""Functions of many models that are done piece by piece, over what they read.

A round then needs room for the models once, and a CPU takes each piece through its
cache instead of taking all of them through memory, step after step.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tele_jax import tree
from tele_jax._once import once
from tele_jax._types import Array

_BYTES = 2**18
"""Of a piece, so that it and what is made of it stay in the cache of a CPU."""
_FEWEST_COLUMNS = 256
"""A kilobyte: shorter pieces of a row are slow to read."""


def over_rows(function: Callable[..., Any], size: int, *trees: Any) -> Any:
    """``jax.vmap(function)(*trees)``, ``size`` rows after the others.

    A result is written over the array of its shape and type that was read, such as a
    new model over the old one; ``lax.map`` would first clear another array for it.

    Args:
      function: takes one row of every tree.
      size: how many rows it is applied to at a time, at most k.
      trees: leaves [k, ...].

    Returns:
      What the function returned, leaves [k, ...].

    >>> over_rows(jnp.add, 2, jnp.arange(3), jnp.ones(3, jnp.int32)).tolist()
    [1, 2, 3]
    """
    read, structure = jax.tree.flatten(trees)
    vectorized = jax.vmap(function)
    wanted, made = jax.tree.flatten(jax.eval_shape(vectorized, *trees))
    places = _places(wanted, read)
    results = [
        jnp.zeros(result.shape, result.dtype) if place is None else read[place]
        for result, place in zip(wanted, places, strict=True)
    ]

    def piece(start: Array, length: int, results: list[Array]) -> list[Array]:
        now = dict(enumerate(read)) | dict(zip(places, results, strict=True))
        arrays = [now[place] for place in range(len(read))]
        rows = [once(lax.dynamic_slice_in_dim(a, start, length)) for a in arrays]
        if length == 1:  # a product of one with one is not the fastest of matrices
            one = function(*jax.tree.unflatten(structure, [row[0] for row in rows]))
            parts = [leaf[None] for leaf in jax.tree.leaves(one)]
        else:
            parts = jax.tree.leaves(vectorized(*jax.tree.unflatten(structure, rows)))
        return [
            lax.dynamic_update_slice_in_dim(result, part, start, 0)
            for result, part in zip(results, parts, strict=True)
        ]

    whole, rest = divmod(tree.num_slots(trees), size)
    results = lax.fori_loop(0, whole, lambda i, r: piece(i * size, size, r), results)
    if rest:
        results = piece(jnp.int32(whole * size), rest, results)
    return jax.tree.unflatten(made, results)


def _places(wanted: list[Any], read: list[Array]) -> list[int | None]:
    """For every result, which array it is written over."""
    free = list(enumerate(read))
    places: list[int | None] = []
    for result in wanted:
        kind = (result.shape, result.dtype)
        alike = (item for item in free if (item[1].shape, item[1].dtype) == kind)
        found = next(alike, None)
        places.append(None if found is None else found[0])
        free = [item for item in free if item is not found]
    return places


def over_columns(function: Callable[..., Array], array: Array, *others: Array) -> Array:
    """``function(array, *others)``, on a CPU some columns after the others.

    Args:
      function: what it makes of a column depends on that column only.
      array: [k, ...], all but the leading axis being columns.
      others: [..., ...], with as many columns.

    Returns:
      What the function makes of it, of the shape and type of ``array``.

    >>> over_columns(lambda rows: rows[::-1], jnp.array([[1], [2]])).tolist()
    [[2], [1]]
    """
    num_columns = array[0].size
    bytes_per_column = sum(a.nbytes for a in (array, *others)) // max(1, num_columns)
    size = max(_FEWEST_COLUMNS, _BYTES // max(1, bytes_per_column))
    if 2 * size > num_columns:
        return function(array, *others)

    def in_pieces(*arrays: Array) -> Array:
        return _in_pieces(function, size, *arrays)

    return lax.platform_dependent(array, *others, cpu=in_pieces, default=function)


def _in_pieces(
    function: Callable[..., Array], size: int, array: Array, *others: Array
) -> Array:
    flat, *rest = (a.reshape(len(a), -1) for a in (array, *others))
    num_columns = flat.shape[1]

    def piece(i: Array, flat: Array) -> Array:
        # The last piece goes back a little. A shorter one would be another loop, for
        # which XLA copies everything.
        start = jnp.minimum(i * size, num_columns - size)
        read = (lax.dynamic_slice_in_dim(a, start, size, 1) for a in (flat, *rest))
        own, *of_others = map(once, read)
        is_done = (start + jnp.arange(size) < i * size)[None]
        new = once(jnp.where(is_done, own, function(own, *of_others)))
        return lax.dynamic_update_slice_in_dim(flat, new, start, 1)

    return lax.fori_loop(0, -(-num_columns // size), piece, flat).reshape(array.shape)
