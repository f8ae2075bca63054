"""Functions of many models that are done piece by piece, over what they read.

A round then needs room for the models once, and a CPU takes each piece through its
cache instead of taking all of them through memory, step after step. Derivatives are
those of the plain functions: the reverse of a loop that writes over what it reads would
go through all models for every piece.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tele_jax import tree
from tele_jax._once import once
from tele_jax._types import Array

_BYTES = 2**17
"""Of a piece, so that it and what is made of it stay in the cache of a CPU."""
_COLUMNS = 128
"""A piece has a multiple of these: its rows then fill lines of the cache, and are not
too short to be read fast."""


def rows_in_turn(
    function: Callable[..., Any], size: int, shared: Any, *trees: Any
) -> Any:
    """``jax.vmap`` of ``function(shared, *row)``, ``size`` rows after the others.

    >>> rows_in_turn(jnp.add, 2, 1, jnp.arange(3)).tolist()
    [1, 2, 3]
    """

    def one(row: Any) -> Any:
        return function(shared, *row)

    return lax.map(one, trees, batch_size=None if size == 1 else size)


def over_rows(function: Callable[..., Any], size: int, shared: Any, *trees: Any) -> Any:
    """``rows_in_turn``, whose results are written over what was read.

    A result takes the place of an array of its shape and type, such as a new model that
    of the old one; ``lax.map`` would first clear another array for it.

    Args:
      function: takes what is shared and one row of every tree.
      size: how many rows it is applied to at a time, at most k.
      shared: a tree.
      trees: leaves [k, ...].

    Returns:
      What the function returned, leaves [k, ...].

    >>> over_rows(jnp.add, 2, 1, jnp.arange(3)).tolist()
    [1, 2, 3]
    """
    row = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), trees)
    # Derivatives are also taken in numbers that the function has from outside.
    pure, outside = jax.closure_convert(function, shared, *row)

    def of_all(known: tuple[Any, Any], *row: Any) -> Any:
        shared, outside = known
        return pure(shared, *row, *outside)

    plain = functools.partial(rows_in_turn, of_all, size)
    in_place = functools.partial(_rows_in_place, of_all, size)
    return _derived_from(plain, in_place)((shared, outside), *trees)


def over_columns(
    function: Callable[..., Array], shared: Any, array: Array, *others: Array
) -> Array:
    """``function(shared, array, *others)``, on a CPU some columns after the others.

    Args:
      function: what it makes of a column depends on that column only.
      shared: a tree.
      array: [k, ...], all but the leading axis being columns.
      others: [..., ...], with as many columns.

    Returns:
      What the function makes of it, of the shape and type of ``array``.

    >>> over_columns(lambda order, x: x[order], jnp.array([1, 0]), jnp.eye(2)).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    num_columns = array[0].size
    bytes_per_column = sum(a.nbytes for a in (array, *others)) // max(1, num_columns)
    size = _COLUMNS * -(-_BYTES // max(1, bytes_per_column * _COLUMNS))
    if 2 * size > num_columns:
        return function(shared, array, *others)
    in_place = functools.partial(_columns_in_place, function, size)
    on_a_cpu = _derived_from(function, in_place)
    return lax.platform_dependent(
        shared, array, *others, cpu=on_a_cpu, default=function
    )


def _derived_from(
    plain: Callable[..., Any], same: Callable[..., Any]
) -> Callable[..., Any]:
    """``same``, with the derivatives of ``plain``."""
    derived = jax.custom_jvp(same)

    @derived.defjvp
    def jvp(primals: Any, tangents: Any) -> Any:
        return jax.jvp(plain, primals, tangents)

    return derived


def _stored(array: Array) -> Array:
    """As it is carried by a loop that writes parts of it: bfloat16, float8 as bits.

    XLA's CPU compiler computes in float32 instead, and would convert the whole array
    for every part. The bits take room for the array once more.
    """
    dtype = array.dtype
    if not jnp.issubdtype(dtype, jnp.floating) or dtype == jnp.float16:
        return array
    num_bits = jnp.finfo(dtype).bits
    if num_bits not in (8, 16):
        return array
    return lax.bitcast_convert_type(array, f"uint{num_bits}")


def _read(array: Array, dtype: Any) -> Array:
    """The floats whose bits ``_stored`` gave."""
    return array if array.dtype == dtype else lax.bitcast_convert_type(array, dtype)


def _rows_in_place(
    function: Callable[..., Any], size: int, shared: Any, *trees: Any
) -> Any:
    one = functools.partial(function, shared)
    leaves, structure = jax.tree.flatten(trees)
    wanted, made = jax.tree.flatten(jax.eval_shape(jax.vmap(one), *trees))
    places = _places(wanted, leaves)
    read = list(map(_stored, leaves))
    results = [
        _stored(jnp.zeros(result.shape, result.dtype)) if place is None else read[place]
        for result, place in zip(wanted, places, strict=True)
    ]

    def piece(start: Array, length: int, results: list[Array]) -> list[Array]:
        now = dict(enumerate(read)) | dict(zip(places, results, strict=True))
        arrays = [now[place] for place in range(len(read))]
        rows = [
            _read(once(lax.dynamic_slice_in_dim(a, start, length)), leaf.dtype)
            for a, leaf in zip(arrays, leaves, strict=True)
        ]
        if length == 1:  # without a batch axis, which would make other products
            of_one = one(*jax.tree.unflatten(structure, [row[0] for row in rows]))
            parts = [jnp.asarray(leaf)[None] for leaf in jax.tree.leaves(of_one)]
        else:
            of_rows = jax.vmap(one)(*jax.tree.unflatten(structure, rows))
            parts = jax.tree.leaves(of_rows)
        return [
            lax.dynamic_update_slice_in_dim(result, _stored(part), start, 0)
            for result, part in zip(results, parts, strict=True)
        ]

    whole, rest = divmod(tree.num_slots(trees), size)
    results = lax.fori_loop(0, whole, lambda i, r: piece(i * size, size, r), results)
    if rest:
        results = piece(jnp.int32(whole * size), rest, results)
    found = [_read(a, of.dtype) for a, of in zip(results, wanted, strict=True)]
    return jax.tree.unflatten(made, found)


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


def _columns_in_place(
    function: Callable[..., Array],
    size: int,
    shared: Any,
    array: Array,
    *others: Array,
) -> Array:
    dtypes = [a.dtype for a in (array, *others)]
    flat, *rest = (_stored(a).reshape(len(a), -1) for a in (array, *others))
    num_columns = flat.shape[1]

    def piece(i: Array, flat: Array) -> Array:
        # The last piece goes back a little. A shorter one would be another loop, for
        # which XLA copies everything.
        start = jnp.minimum(i * size, num_columns - size)
        read = (lax.dynamic_slice_in_dim(a, start, size, 1) for a in (flat, *rest))
        # In memory before anything is written, and read from there by every sender.
        own, *of_others = map(_read, map(once, read), dtypes)
        is_done = (start + jnp.arange(size) < i * size)[None]
        new = jnp.where(is_done, own, function(shared, own, *of_others))
        return lax.dynamic_update_slice_in_dim(flat, _stored(new), start, 1)

    flat = lax.fori_loop(0, -(-num_columns // size), piece, flat)
    return _read(flat, array.dtype).reshape(array.shape)
