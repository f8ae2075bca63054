"""One exchange of messages: who sends what to whom, and when it is there.

All times are float32 seconds since one moment; ``clocks`` says which.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tele_jax._types import Array
from tele_jax.mixing import Mixing, Push, num_slots
from tele_jax.network.clocks import NEVER
from tele_jax.network.links import Links


class Sending(NamedTuple):
    """The messages of an exchange, arrays of one shape e."""

    sender: Array
    """int32[e]: slot."""
    receiver: Array
    """int32[e]: slot."""
    needed: Array
    """bool[e]: whether the receiver waits for what the sender has."""
    travels: Array
    """bool[e]: whether it is needed and goes from one node to another."""
    latency: Array
    """float32[e]: seconds; 0 where nothing travels."""
    transfer: Array
    """float32[e]: seconds for which it occupies the sender; 0 where nothing travels."""


def messages(
    mixing: Mixing | Push, source: Array, target: Array, links: Links, num_bytes: Array
) -> Sending:
    """What a round of gossip sends, if slot j is at ``source[j]`` before, and then at
    ``target[j]``.

    A weight of 0 sends nothing, nor does a node to itself, and −1 is no node. A slot's
    own model is one message, in however many rows its weight stands.
    """
    own = jnp.broadcast_to(jnp.arange(num_slots(mixing)), mixing.weights.shape)
    is_pull = isinstance(mixing, Mixing)
    sender, receiver = (mixing[0], own) if is_pull else (own, mixing[0])
    needed = mixing.weights != 0
    mine = needed & (sender == receiver)
    needed &= ~mine | (jnp.cumsum(mine, axis=0) == 1)
    return _priced(sender, receiver, needed, source, target, links, num_bytes)


def fetches(source: Array, target: Array, links: Links, num_bytes: Array) -> Sending:
    """Every slot moves from ``source[a]`` to ``target[a]``."""
    slots = jnp.arange(source.shape[0])
    needed = jnp.ones(source.shape, bool)
    return _priced(slots, slots, needed, source, target, links, num_bytes)


def _priced(
    sender: Array,
    receiver: Array,
    needed: Array,
    source: Array,
    target: Array,
    links: Links,
    num_bytes: Array,
) -> Sending:
    i, j = source[sender], target[receiver]
    needed = needed & (i >= 0) & (j >= 0)
    travels = needed & (i != j)
    latency, transfer = cost(links, i, j, num_bytes)
    latency, transfer = (jnp.where(travels, part, 0.0) for part in (latency, transfer))
    return Sending(sender, receiver, needed, travels, latency, transfer)


def cost(links: Links, i: Array, j: Array, num_bytes: Array) -> tuple[Array, Array]:
    """Latency and transfer time of a message from nodes i to nodes j, seconds."""
    link = links.between(jnp.maximum(i, 0), jnp.maximum(j, 0))
    return link.latency, num_bytes / link.bandwidth


def start_at_once(sending: Sending, ready: Array) -> tuple[Array, Array]:
    """All messages of a sender start when it is ready.

    Args:
      sending: the messages.
      ready: float32[k], when every sender has something to send.

    Returns:
      When each message starts, float32[e], and when each sender has sent all, [k].
    """
    longest = jnp.zeros_like(ready).at[sending.sender].max(sending.transfer)
    return ready[sending.sender], ready + longest


def start_in_turn(sending: Sending, ready: Array) -> tuple[Array, Array]:
    """The messages of a sender start one after the other, to slots in increasing order.

    Args and returns as of ``start_at_once``.
    """
    sender, transfer = sending.sender.ravel(), sending.transfer.ravel()
    order = jnp.lexsort((sending.receiver.ravel(), sender))
    ordered, of_sender = transfer[order], sender[order]
    is_first = jnp.concatenate([jnp.array([True]), of_sender[1:] != of_sender[:-1]])
    queued = _sums_before(ordered, is_first)
    before = jnp.zeros_like(transfer).at[order].set(queued)
    total = jnp.zeros_like(ready).at[sender].add(transfer)
    start = ready[sender] + before
    return start.reshape(sending.sender.shape), ready + total


def _sums_before(values: Array, is_first: Array) -> Array:
    """What stands before a value in its segment; no sum runs over all of them."""
    Pair = tuple[Array, Array]

    def join(left: Pair, right: Pair) -> Pair:
        total = jnp.where(right[1], right[0], left[0] + right[0])
        return total, left[1] | right[1]

    shifted = jnp.where(is_first, 0.0, jnp.roll(values, 1))
    return jax.lax.associative_scan(join, (shifted, is_first))[0]


def arrive(
    sending: Sending, ready: Array, start: Array, listens: Array | None = None
) -> Array:
    """When every slot has all that it waits for, float32[k].

    T_i ← max_j (start_ji + latency_ji + transfer_ji): gossip in the (max, +) semiring.

    Args:
      sending: the messages.
      ready: float32[k], when the senders are.
      start: float32[e], when the messages start.
      listens: float32[k], before which a receiver takes nothing off the wire; None: it
        always does.
    """
    reaches = start + sending.latency
    if listens is not None:
        reaches = jnp.maximum(reaches, listens[sending.receiver])
    there = jnp.where(
        sending.travels, reaches + sending.transfer, ready[sending.sender]
    )
    there = jnp.where(sending.needed, there, NEVER)
    return jnp.full_like(ready, NEVER).at[sending.receiver].max(there)
