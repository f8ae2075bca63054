"""One round of gossip, X ← X W: the forms it is written in, and what it costs.

The models are the columns of X, so column i of W holds the weights with which slot i
averages what it receives, and row j those with which slot j is heard.
"""

import functools
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


def unstack(stacked: AnyMixing) -> list[AnyMixing]:
    """The rounds of mixings that were stacked, leaves [r, ...], on the host.

    >>> from tele_jax import graphs
    >>> both = jax.vmap(graphs.ring(5).at)(jnp.arange(2))
    >>> [one.senders.shape for one in unstack(both)]
    [(3, 5), (3, 5)]
    """
    stacked = jax.device_get(stacked)
    return [
        jax.tree.map(lambda leaf, r=r: leaf[r], stacked)
        for r in range(len(jax.tree.leaves(stacked)[0]))
    ]


def matrix(mixing: AnyMixing) -> np.ndarray:
    """The mixing matrix W, float64[k, k], on the host.

    >>> from tele_jax import graphs
    >>> matrix(graphs.complete(2).at(0)).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    if isinstance(mixing, Repeated):
        each = [matrix(one) for one in unstack(mixing.rounds)]
        return functools.reduce(np.matmul, each)
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
        return _count_repeated(mixing, source, destination)
    if isinstance(mixing, RankOne):
        return _count_all_to_all(mixing, source, destination)
    if isinstance(mixing, Mixing):
        travels = source[mixing.senders] != destination[None]
    else:
        travels = source[None] != destination[mixing.targets]
    # A slot's own weight may stand in several rows, but is one model.
    is_own = mixing[0] == own[None]
    alone = (is_own & (mixing.weights != 0)).any(axis=0) & (source != destination)
    between = travels & ~is_own & (mixing.weights != 0)
    return between.sum(dtype=jnp.int32) + alone.sum(dtype=jnp.int32)


def add_counts(a: Array, b: Array) -> Array:
    """The sum of two counts, or 2³¹ − 1 if it is larger.

    >>> int(add_counts(jnp.int32(2**31 - 2), jnp.int32(7))) == 2**31 - 1
    True
    """
    return jnp.where(a > _MAX_COUNT - b, _MAX_COUNT, a + b)


def _count_repeated(mixing: Repeated, source: Array, destination: Array) -> Array:
    """All rounds but the last between the nodes of before."""

    def add(total: Array, one: AnyMixing) -> tuple[Array, None]:
        return add_counts(total, count_messages(one, source)), None

    first = jax.tree.map(lambda leaf: leaf[:-1], mixing.rounds)
    last = jax.tree.map(lambda leaf: leaf[-1], mixing.rounds)
    total, _ = jax.lax.scan(add, count_messages(last, source, destination), first)
    return total


def _count_all_to_all(mixing: RankOne, source: Array, destination: Array) -> Array:
    sends, receives = mixing.send != 0, mixing.receive != 0
    # A node that is source and destination keeps one model; −1 and −2 are no nodes.
    before = jnp.where(sends, source, -1)
    after = jnp.where(receives, destination, -2)
    # Sorted: the default compares all pairs.
    stay = jnp.isin(after, before, method="sort") & receives & (destination >= 0)
    alone = (mixing.own != 0) & ~(sends & receives) & (source != destination)
    # Pairs in 32 bits without a sign: more than 2³² are more than enough.
    a, b, less, more = (
        part.sum(dtype=jnp.uint32) for part in (sends, receives, stay, alone)
    )
    fits = a <= jnp.uint32(2**32 - 1) // jnp.maximum(b, 1)
    count = jnp.minimum(a * b - less + more, jnp.uint32(_MAX_COUNT))
    return jnp.where(fits, count, jnp.uint32(_MAX_COUNT)).astype(jnp.int32)
