"""Epochs without a list of their order: a permutation that is computed place by place.

V. T. Hoang, B. Morris, P. Rogaway, *An Enciphering Scheme Based on a Card Shuffle*,
CRYPTO 2012, arXiv 1208.1176: the swap-or-not shuffle. Where one card goes is found
without looking at the others, so n nodes keep no n shuffled lists.
"""

import jax
import jax.numpy as jnp

from tele_jax._types import Array, Key

_ROUNDS_PER_BIT = 6
"""Rounds of the shuffle per bit of its size: with 6 the paper's bound on the distance
from uniform is far below what any statistic here could see."""
_BITS = 16
"""At least so many bits' worth of rounds, for small decks."""


def places_of_batch(
    key: Key, count: Array, size: Array, largest: int, batch_size: int
) -> Array:
    """The places, in its own list, of the next batch of one node's epochs.

    The node's examples come in an order that is new in every epoch; batch ``count`` is
    the positions from count·b on of all epochs one after the other, so that a batch may
    end one epoch and begin the next.

    Args:
      key: of the node, the same in all rounds.
      count: how many batches it drew before, int32[].
      size: how many examples the node owns, int32[].
      largest: the largest size of any node; decides the number of rounds.
      batch_size: b.

    Returns:
      int32[b], each in 0, …, size − 1.

    >>> epoch = places_of_batch(jax.random.key(0), jnp.int32(0), jnp.int32(5), 5, 5)
    >>> sorted(epoch.tolist())
    [0, 1, 2, 3, 4]
    """
    # count·b would overflow after 2³¹ examples; this does not while s·b < 2³¹.
    whole, rest = count // size, count % size
    ahead = rest * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
    epoch = whole * batch_size + ahead // size
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(epoch)
    rounds = _ROUNDS_PER_BIT * max(_BITS, largest.bit_length())
    return jax.vmap(_shuffled, (0, 0, None, None))(keys, ahead % size, size, rounds)


def _shuffled(key: Key, place: Array, size: Array, rounds: int) -> Array:
    """Where the card at ``place`` of ``size`` goes."""
    seed = jax.random.bits(key, (2,), jnp.uint32)
    size = size.astype(jnp.uint32)

    def swap_or_not(number: Array, place: Array) -> Array:
        # Pairs {x, K − x mod size} swap, or not, by a bit that the pair decides.
        pivot = _mixed(seed[0] ^ _mixed(seed[1] + number)) % size
        partner = (pivot + size - place) % size
        pair = jnp.maximum(place, partner)
        bit = _mixed(_mixed(seed[1] ^ pair) + seed[0] + number) >> 31
        return jnp.where(bit == 1, partner, place)

    numbers = (jnp.uint32(0), jnp.uint32(rounds))
    place = place.astype(jnp.uint32)
    return jax.lax.fori_loop(*numbers, swap_or_not, place).astype(jnp.int32)


def _mixed(word: Array) -> Array:
    """A bijection of 32 bits that spreads each of them over all.

    The finaliser that C. Wellons found by search (hash-prospector, 2018).
    """
    word = (word ^ (word >> 16)) * jnp.uint32(0x7FEB352D)
    word = (word ^ (word >> 15)) * jnp.uint32(0x846CA68B)
    return word ^ (word >> 16)
