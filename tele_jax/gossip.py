"""Gossip: every slot replaces its model by a weighted average of what it receives."""

import jax
import jax.numpy as jnp

from tele_jax._types import Array, Slots
from tele_jax.topology import Mixing

_MAX_UNROLLED = 16
"""Longest sum of row-gathers written out: compile time grows with its length."""
_DENSE_FRACTION = 8
"""With more than k / 8 senders per slot a dense product is the faster one."""


def mix(mixing: Mixing, slots: Slots) -> Slots:
    """One round of gossip, x_i ← Σ_c weights[c, i] · x[senders[c, i]].

    This is the sparse mixing-matrix einsum
    ``jnp.einsum("mk,mk...->k...", weights, x[senders])``, evaluated as a sum of m
    weighted row-gathers (the einsum would first copy every model m times), or as a
    dense product when the matrix is nearly full. Summed in float32 or wider, at the
    highest precision: rounding to fewer bits would bias an average of many rounds.

    Args:
      mixing: the senders and weights of this round, [m, k].
      slots: a tree of floating-point leaves [k, ...].

    Returns:
      A tree of the same shapes and dtypes.

    >>> from tele_jax import graphs
    >>> mix(graphs.complete(2).at(0), jnp.array([[0.0], [4.0]])).tolist()
    [[2.0], [2.0]]
    """
    num_senders, num_slots = mixing.senders.shape
    if num_senders <= _MAX_UNROLLED and num_senders * 2 <= max(num_slots, 6):
        return jax.tree.map(lambda leaf: _mix_by_gathers(mixing, leaf), slots)
    if num_senders * _DENSE_FRACTION >= num_slots:
        matrix = _dense(mixing)
        return jax.tree.map(lambda leaf: _mix_dense(matrix, leaf), slots)
    return jax.tree.map(lambda leaf: _mix_by_loop(mixing, leaf), slots)


def _accumulator(leaf: Array) -> jnp.dtype:
    return jnp.promote_types(leaf.dtype, jnp.float32)


def _weighted(weights: Array, leaf: Array) -> Array:
    return weights.reshape(-1, *(1,) * (leaf.ndim - 1)) * leaf


def _mix_by_gathers(mixing: Mixing, leaf: Array) -> Array:
    total = jnp.zeros_like(leaf, _accumulator(leaf))
    for senders, weights in zip(*mixing, strict=True):
        total += _weighted(weights, leaf[senders])
    return total.astype(leaf.dtype)


def _mix_by_loop(mixing: Mixing, leaf: Array) -> Array:
    def add(total: Array, column: Mixing) -> tuple[Array, None]:
        return total + _weighted(column.weights, leaf[column.senders]), None

    total, _ = jax.lax.scan(add, jnp.zeros_like(leaf, _accumulator(leaf)), mixing)
    return total.astype(leaf.dtype)


def _dense(mixing: Mixing) -> Array:
    """The mixing matrix itself, [k receivers, k senders]."""
    num_slots = mixing.senders.shape[1]
    receivers = jnp.broadcast_to(jnp.arange(num_slots), mixing.senders.shape)
    matrix = jnp.zeros((num_slots, num_slots), jnp.float32)
    return matrix.at[receivers, mixing.senders].add(mixing.weights)


def _mix_dense(matrix: Array, leaf: Array) -> Array:
    mixed = jnp.tensordot(
        matrix,
        leaf,
        axes=1,
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=_accumulator(leaf),
    )
    return mixed.astype(leaf.dtype)
