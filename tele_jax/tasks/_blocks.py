"""Passes over many examples, with the activations of one block in memory at a time."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tele_jax._types import Array, Batch, Params


def mean_value_and_grad(
    loss: Callable[[Params, Batch], Array], params: Params, batch: Batch, size: int
) -> tuple[Array, Params]:
    """The mean over a batch, from blocks of ``size`` examples which divide it.

    Sums are kept in float32 at least.

    >>> square = lambda x, a: jnp.mean((x - a) ** 2)
    >>> value, slope = mean_value_and_grad(square, jnp.zeros(()), jnp.arange(4.0), 2)
    >>> float(value), float(slope)
    (3.5, -3.0)
    """
    blocks = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), batch)

    of_block = functools.partial(jax.value_and_grad(loss), params)
    found = jax.eval_shape(of_block, jax.tree.map(lambda leaf: leaf[0], blocks))

    def add(total: Any, block: Batch) -> tuple[Any, None]:
        total = jax.tree.map(jnp.add, total, of_block(block))
        return total, None

    def zeros(leaf: jax.ShapeDtypeStruct) -> Array:
        return jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32))

    total, _ = jax.lax.scan(add, jax.tree.map(zeros, found), blocks)
    number = len(jax.tree.leaves(blocks)[0])
    mean: tuple[Array, Params] = jax.tree.map(
        lambda leaf, of: (leaf / number).astype(of.dtype), total, found
    )
    return mean


def weighted_total(
    measure: Callable[[Array, Array], Any],
    examples: tuple[Array, Array, Array],
    size: int,
) -> Any:
    """Σ_j weights_j measure_j.

    Args:
      measure: of inputs and labels [b]; gives arrays [b].
      examples: inputs, labels and weights.
      size: how many examples are a block; the last need not be full.

    >>> examples = jnp.arange(5.0), jnp.ones(5), jnp.ones(5)
    >>> float(weighted_total(jnp.add, examples, 2))
    15.0
    """
    num_examples = len(examples[0])
    size = min(size, num_examples)

    def block(start: Array) -> Any:
        # The last block starts early enough to be full; what the one before it has
        # counted weighs nothing in it.
        begin = jnp.minimum(start, num_examples - size)
        inputs, labels, weights = (
            jax.lax.dynamic_slice_in_dim(array, begin, size) for array in examples
        )
        fresh = begin + jnp.arange(size) >= start
        return jax.tree.map(
            lambda value: jnp.sum(jnp.where(fresh, weights * value, 0)),
            measure(inputs, labels),
        )

    sums = jax.lax.map(block, jnp.arange(0, num_examples, size))
    return jax.tree.map(jnp.sum, sums)
