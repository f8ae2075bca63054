"""One round of gossip, X ← X W: the forms it is written in, and what it costs.

The models are the columns of X, so column i of W holds the weights with which slot i
averages what it receives, and row j those with which slot j is heard.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tele_jax._types import Array

_MAX_COUNT = 2**31 - 1


class Mixing(NamedTuple):
    """Slot i averages what it pulls: ``weights[:, i]`` of ``senders[:, i]``.

    Columns shorter than m are padded with the slot itself at weight 0.
    """

    senders: Array
    """int32[m, k]"""
    weights: Array
    """float32[m, k]"""


class Push(NamedTuple):
    """Slot j adds its model, times ``weights[:, j]``, to the slots ``targets[:, j]``.

    For rounds in which senders choose: how many a slot hears is random then, and may
    be all. Columns shorter than m are padded with the slot itself at weight 0.
    """

    targets: Array
    """int32[m, k]"""
    weights: Array
    """float32[m, k]"""


class RankOne(NamedTuple):
    """x_i ← own_i x_i + receive_i Σ_j send_j x_j: all hear the same sum, no table."""

    own: Array
    """float32[k]"""
    send: Array
    """float32[k]"""
    receive: Array
    """float32[k]"""


class Repeated(NamedTuple):
    """Several rounds of gossip in one step, one after the other."""

    rounds: "Mixing | Push | RankOne | Repeated"
    """Stacked: leaves with a leading axis of rounds."""


AnyMixing = Mixing | Push | RankOne | Repeated


def num_slots(mixing: AnyMixing) -> int:
    """The number k of slots.

    >>> from tele_jax import graphs
    >>> num_slots(graphs.ring(5).at(0))
    5
    """
    return jax.tree.leaves(mixing)[0].shape[-1]


def matrix(mixing: AnyMixing) -> np.ndarray:
    """The mixing matrix W, float64[k, k], on the host.

    >>> from tele_jax import graphs
    >>> matrix(graphs.complete(2).at(0)).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    if isinstance(mixing, Repeated):
        rounds = len(jax.tree.leaves(mixing)[0])
        each = [
            matrix(jax.tree.map(lambda leaf, r=r: leaf[r], mixing.rounds))
            for r in range(rounds)
        ]
        return np.linalg.multi_dot(each) if rounds > 1 else each[0]
    if isinstance(mixing, RankOne):
        own, send, receive = (np.asarray(part, np.float64) for part in mixing)
        return np.diag(own) + send[:, None] * receive
    size = num_slots(mixing)
    other = np.asarray(mixing[0], np.int64)
    entries = (np.arange(size) * size + other).ravel()
    weights = np.asarray(mixing.weights, np.float64).ravel()
    by_slot = np.bincount(entries, weights, size * size).reshape(size, size)
    return by_slot.T if isinstance(mixing, Mixing) else by_slot


def count_messages(
    mixing: AnyMixing, source: Array | None = None, destination: Array | None = None
) -> Array:
    """How many models travel between nodes in a round of gossip, int32[].

    A weight of 0 sends nothing, and a node sends nothing to itself.

    Args:
      mixing: the round.
      source: int32[k], the node that holds the model of slot j before; by default
        every slot is a node.
      destination: int32[k], the node that holds the result of slot i; by default the
        same as before. Where it differs, the result of the last round of gossip is
        pulled there straight away.

    Returns:
      The count, or 2³¹ − 1 if it is larger.

    >>> from tele_jax import graphs
    >>> int(count_messages(graphs.ring(5).at(0)))
    10
    """
    own = jnp.arange(num_slots(mixing), dtype=jnp.int32)
    source = own if source is None else source
    destination = source if destination is None else destination
    if isinstance(mixing, Repeated):
        first = jax.tree.map(lambda leaf: leaf[:-1], mixing.rounds)
        last = jax.tree.map(lambda leaf: leaf[-1], mixing.rounds)
        counts = jax.vmap(lambda one: count_messages(one, source))(first)
        total = count_messages(last, source, destination)
        return total + counts.sum(dtype=jnp.int32)
    if isinstance(mixing, RankOne):
        return _count_all_to_all(mixing, source, destination)
    if isinstance(mixing, Mixing):
        travels = source[mixing.senders] != destination[None]
    else:
        travels = source[None] != destination[mixing.targets]
    return (travels & (mixing.weights != 0)).sum(dtype=jnp.int32)


def _count_all_to_all(mixing: RankOne, source: Array, destination: Array) -> Array:
    sends, receives = mixing.send != 0, mixing.receive != 0
    # A node that is source and destination keeps one model; −1 and −2 are no nodes.
    stay = jnp.isin(
        jnp.where(receives, destination, -2), jnp.where(sends, source, -1)
    ) & (receives & (destination >= 0))
    alone = (mixing.own != 0) & ~(sends & receives) & (source != destination)
    pairs = _product(sends.sum(dtype=jnp.int32), receives.sum(dtype=jnp.int32))
    return pairs - stay.sum(dtype=jnp.int32) + alone.sum(dtype=jnp.int32)


def _product(a: Array, b: Array) -> Array:
    fits = a <= _MAX_COUNT // jnp.maximum(b, 1)
    return jnp.where(fits, a * b, _MAX_COUNT)
