"""Mixings in float64: the rounding of float32 weights must not look like mixing."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tele_jax._types import Array
from tele_jax.mixing import AnyMixing, Mixing, Push, RankOne, Repeated

_TOLERANCE = 1e-4
"""How far from 1 a column's sum may be to be taken for a rounded 1."""


def exact_columns(matrix: np.ndarray) -> np.ndarray:
    """W with columns that sum to 1 in float64.

    Raises:
      ValueError: one does not sum to 1, not even up to rounding.
    """
    sums = matrix.sum(axis=0)
    check_sums(sums)
    return matrix / sums


def check_sums(sums: np.ndarray) -> None:
    """Refuse a W that does not average what a slot receives."""
    if np.abs(sums - 1).max() > _TOLERANCE:
        column = int(np.abs(sums - 1).argmax())
        raise ValueError(
            f"contraction: column {column} sums to {sums[column]:.4g}, expected 1; "
            "slots that do not average what they receive need not agree."
        )


def exact_mixing(mixing: AnyMixing) -> Any:
    """The same, of a mixing while 64 bits are switched on."""
    if isinstance(mixing, Repeated):
        return Repeated(jax.vmap(exact_mixing)(mixing.rounds))
    if isinstance(mixing, RankOne):
        own, send, receive = (_wide(part) for part in mixing)
        sums = own + receive * send.sum()
        return RankOne(own / sums, send, receive / sums)
    weights = _wide(mixing.weights)
    if isinstance(mixing, Mixing):
        return mixing._replace(weights=weights / weights.sum(axis=0, keepdims=True))
    sums = jnp.zeros(weights.shape[1]).at[mixing.targets].add(weights)
    return Push(mixing.targets, weights / sums[mixing.targets])


def _wide(weights: Array) -> Array:
    return weights.astype(jnp.float64)
