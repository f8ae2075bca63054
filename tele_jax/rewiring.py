"""From one round of gossip to another: relabelled, lazy, restricted, side by side."""

import jax
import jax.numpy as jnp
import numpy as np

from tele_jax._types import Array
from tele_jax.mixing import (
    AnyMixing,
    Mixing,
    Push,
    RankOne,
    Repeated,
    num_slots,
)


def relabel(mixing: AnyMixing, permutation: Array) -> AnyMixing:
    """Slot ``permutation[i]`` takes the place of slot i, W'[π(j), π(i)] = W[j, i].

    >>> from tele_jax import graphs
    >>> moved = relabel(graphs.ring(4).at(0), jnp.array([0, 2, 1, 3]))
    >>> sorted(moved.senders[:, 0].tolist())
    [0, 2, 3]
    """
    if isinstance(mixing, Repeated):
        return Repeated(
            jax.vmap(relabel, in_axes=(0, None))(mixing.rounds, permutation)
        )
    inverse = jnp.argsort(permutation)
    if isinstance(mixing, RankOne):
        return RankOne(*(part[inverse] for part in mixing))
    other, weights = mixing
    return type(mixing)(permutation[other[:, inverse]], weights[:, inverse])


def lazy(mixing: AnyMixing) -> AnyMixing:
    """½ (I + W): every slot keeps half of its own model.

    >>> from tele_jax import graphs
    >>> from tele_jax.mixing import matrix
    >>> matrix(lazy(graphs.complete(2).at(0))).tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    if isinstance(mixing, Repeated):
        raise ValueError(
            "lazy: got several rounds of gossip per step, expected one; make every "
            "round lazy with repeat(lazy(topology), times)."
        )
    if isinstance(mixing, RankOne):
        own, send, receive = mixing
        return RankOne((1 + own) / 2, send, receive / 2)
    half = type(mixing)(mixing[0], mixing.weights / 2)
    return _add_own(half, jnp.full(num_slots(mixing), 0.5, jnp.float32))


def restrict(mixing: AnyMixing, alive: Array) -> AnyMixing:
    """Gossip among the living: what a slot does not hear, it takes of its own model.

    Every column of the living keeps its sum. If W is symmetric, both ends of a lost
    pair take its weight back, so W stays doubly stochastic and the mean of the living
    is preserved.
    The model of a dead slot stays as it is. It may still be read, times 0, so it has to
    be finite. Rows that alone sum to 1 (push-sum) do so no longer.

    Args:
      mixing: the round.
      alive: bool[k].

    >>> from tele_jax import graphs
    >>> from tele_jax.mixing import matrix
    >>> matrix(restrict(graphs.complete(2).at(0), jnp.array([True, False]))).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if isinstance(mixing, Repeated):
        return Repeated(jax.vmap(restrict, in_axes=(0, None))(mixing.rounds, alive))
    if isinstance(mixing, RankOne):
        own, send, receive = mixing
        unheard = jnp.sum(jnp.where(alive, 0.0, send))
        return RankOne(
            jnp.where(alive, own + receive * unheard, 1.0),
            jnp.where(alive, send, 0.0),
            jnp.where(alive, receive, 0.0),
        )
    kept, returned = cut(mixing, ~(alive[mixing[0]] & alive[None]))
    return _add_own(kept, jnp.where(alive, returned, 1.0))


def cut(mixing: Mixing | Push, lost: Array) -> tuple[Mixing | Push, Array]:
    """Gossip without some of its entries, and the weight that receivers miss then.

    Args:
      mixing: the round.
      lost: bool[m, k], which entries of its table do not arrive.

    Returns:
      The round with weight 0 there, and float32[k], what every slot has to take of its
      own model instead.

    >>> from tele_jax import graphs
    >>> ring = graphs.ring(4).at(0)
    >>> (3 * cut(ring, ring.senders == 0)[1]).tolist()
    [1.0, 1.0, 0.0, 1.0]
    """
    other, weights = mixing
    missed = jnp.where(lost, weights, 0.0)
    kept = type(mixing)(other, jnp.where(lost, 0.0, weights))
    if isinstance(mixing, Mixing):
        return kept, missed.sum(axis=0)
    return kept, jnp.zeros_like(missed[0]).at[other].add(missed)


def _add_own(mixing: Mixing | Push, weights: Array) -> Mixing | Push:
    """The diagonal of W raised by ``weights`` [k]."""
    own = jnp.arange(num_slots(mixing), dtype=jnp.int32)[None]
    return type(mixing)(
        jnp.concatenate([mixing[0], own]),
        jnp.concatenate([mixing.weights, weights[None]]),
    )


def beside(*mixings: AnyMixing) -> AnyMixing:
    """The block-diagonal W of mixings of one form, their slots numbered one by one.

    >>> from tele_jax import graphs
    >>> both = beside(graphs.ring(3).at(0), graphs.ring(2).at(0))
    >>> both.senders[:, 3:].tolist()
    [[3, 4], [4, 3], [3, 4]]
    """
    if len(mixings) == 1:
        return mixings[0]
    if isinstance(mixings[0], Repeated):
        return Repeated(
            jax.vmap(beside)(
                *(each.rounds for each in mixings if isinstance(each, Repeated))
            )
        )
    tables = [_table(each) for each in mixings]
    longest = max(len(each.weights) for each in tables)
    starts = np.cumsum([0, *(num_slots(each) for each in tables)])
    padded = [_pad(each, longest) for each in tables]
    others = [each[0] + start for each, start in zip(padded, starts, strict=False)]
    return type(tables[0])(
        jnp.concatenate(others, axis=1, dtype=jnp.int32),
        jnp.concatenate([each.weights for each in padded], axis=1),
    )


def _pad(mixing: Mixing | Push, num_rows: int) -> Mixing | Push:
    missing = num_rows - len(mixing.weights)
    size = num_slots(mixing)
    own = jnp.broadcast_to(jnp.arange(size, dtype=jnp.int32), (missing, size))
    return type(mixing)(
        jnp.concatenate([mixing[0], own]),
        jnp.concatenate([mixing.weights, jnp.zeros((missing, size))]),
    )


def _table(mixing: AnyMixing) -> Mixing | Push:
    """The same round with every weight written down."""
    assert not isinstance(mixing, Repeated)
    if not isinstance(mixing, RankOne):
        return mixing
    size = num_slots(mixing)
    senders = jnp.broadcast_to(jnp.arange(size, dtype=jnp.int32)[:, None], (size, size))
    weights = jnp.outer(mixing.send, mixing.receive) + jnp.diag(mixing.own)
    return Mixing(senders, weights)
