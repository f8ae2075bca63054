"""From stored examples to losses: inputs, logits, cross-entropies."""

from typing import Any

import jax
import jax.numpy as jnp

from tele_jax._types import Array, Params


def scaled(inputs: Array) -> Array:
    """uint8 as float32 between 0 and 1, others as they are."""
    return inputs.astype(jnp.float32) / 255 if inputs.dtype == jnp.uint8 else inputs


def logits(model: Any, params: Params, inputs: Array, dtype: Any) -> Array:
    """What the model gives, computed in ``dtype`` and returned in float32.

    Gradients go back through the same conversion, so they have the parameters' own
    type. Arrays of the model itself stay as they are, and with None all does.
    """
    if dtype is None:
        found: Array = model.apply(params, inputs)
        return found

    def short(leaf: Array) -> Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    found = model.apply(*jax.tree.map(short, (params, inputs)))
    return found.astype(jnp.float32)


def cross_entropy(logits: Array, labels: Array) -> Array:
    """−log softmax(logits)_label, one for each example: [b].

    >>> loss = cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3]))
    >>> bool(jnp.allclose(loss, jnp.log(4)))  # four equal logits
    True
    """
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=-1)
    return -chosen[:, 0]
