"""Passes over many examples, with the activations of one block in memory at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tele_jax._types import Array, Batch, Params


def mean_value_and_grad(
    loss: Callable[[Params, Batch], Array], params: Params, batch: Batch, size: int
) -> tuple[Array, Params]:
    """The mean over a batch, from blocks of ``size`` examples which divide it.

    >>> square = lambda x, a: jnp.mean((x - a) ** 2)
    >>> value, slope = mean_value_and_grad(square, jnp.zeros(()), jnp.arange(4.0), 2)
    >>> float(value), float(slope)
    (3.5, -3.0)
    """
    blocks = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), batch)

    def add(total: Any, block: Batch) -> tuple[Any, None]:
        return jax.tree.map(
            jnp.add, total, jax.value_and_grad(loss)(params, block)
        ), None

    nothing = jax.tree.map(jnp.zeros_like, (jnp.zeros(()), params))
    total, _ = jax.lax.scan(add, nothing, blocks)
    number = len(jax.tree.leaves(blocks)[0])
    return jax.tree.map(lambda leaf: leaf / number, total)


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
