"""Gossip: every slot replaces its model by a weighted average of what it receives."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tele_jax import devices
from tele_jax._in_place import over_columns
from tele_jax._types import Array, Params, Slots
from tele_jax.mixing import AnyMixing, Mixing, Push, RankOne, Repeated, num_slots
from tele_jax.routes import MAX_UNROLLED, Routes, exchange, weighted_sum

_DENSE_FRACTION = 8
"""With more than k / 8 senders per slot a dense product is the faster one."""

_HIGHEST = jax.lax.Precision.HIGHEST


def mix(mixing: AnyMixing, slots: Slots, routes: Routes | None = None) -> Slots:
    """One round of gossip, x_i ← Σ_c weights[c, i] · x[senders[c, i]].

    This is the sparse mixing-matrix einsum
    ``jnp.einsum("mk,mk...->k...", weights, x[senders])``, evaluated as a sum of m
    weighted row-gathers (the einsum would first copy every model m times), or as a
    dense product when the matrix is nearly full. Summed in float32 or wider, at the
    highest precision: rounding to fewer bits would bias an average of many rounds.
    The other forms of a round are a sum over segments (``Push``), one common sum
    (``RankOne``), and rounds one after the other (``Repeated``).

    Args:
      mixing: this round, what ``Topology.at`` gives.
      slots: a tree of floating-point leaves [k, ...].
      routes: where devices share the slots, how models travel between them: what
        ``routes_of`` gives for a mixing with these senders. Without them all
        models go to all devices.

    Returns:
      A tree of the same shapes and dtypes.

    >>> from tele_jax import graphs
    >>> mix(graphs.complete(2).at(0), jnp.array([[0.0], [4.0]])).tolist()
    [[2.0], [2.0]]
    """
    if routes is not None:
        return _by_routes(mixing, slots, routes)
    function, operand = _form(mixing)
    apply = functools.partial(function, operand)
    # Among many devices every piece would travel by itself.
    if not (devices.are_many() or devices.is_shared_by_runs()):
        apply = functools.partial(over_columns, function, operand)
    return jax.tree.map(apply, slots)


def _by_routes(mixing: Any, slots: Slots, routes: Routes) -> Slots:
    """Of senders that choose nothing: a ``Mixing``, or several one after the other."""
    if isinstance(mixing, Mixing):
        return exchange(routes, mixing.weights, slots)

    def one_round(slots: Slots, one: tuple[Array, Array]) -> tuple[Slots, None]:
        weights, due = one
        return exchange(Routes(routes.each, due), weights, slots), None

    return jax.lax.scan(one_round, slots, (mixing.rounds.weights, routes.due))[0]


def _form(mixing: AnyMixing) -> tuple[Callable[..., Array], Any]:
    """What mixes a leaf [k, ...], and what it has to know of the round."""
    if isinstance(mixing, Repeated):
        functions: list[Callable[..., Array]] = []  # the same for all rounds

        def operand(one: Any) -> Any:
            function, known = _form(one)
            functions.append(function)
            return known

        rounds = jax.vmap(operand)(mixing.rounds)
        return functools.partial(_mix_repeatedly, functions[0]), rounds
    if isinstance(mixing, RankOne):
        return _mix_rank_one, mixing
    if isinstance(mixing, Push):
        return _mix_by_segments, mixing
    num_senders, num_slots = mixing.senders.shape
    few = num_senders <= MAX_UNROLLED and num_senders * 2 <= max(num_slots, 6)
    if not few and num_senders * _DENSE_FRACTION >= num_slots:
        return _mix_dense, _dense(mixing)
    return _mix_by_gathers, mixing


def mean_drift(mixing: AnyMixing, slots: Slots, alive: Array | None = None) -> Params:
    """How far a round of gossip moves the mean model of the living.

    (1/a) Σ_{i alive} (x_i after − x_i before). It is 0, up to rounding, if W is doubly
    stochastic; gossip on directed graphs with a dead slot need not be.

    Args:
      mixing: the round, such as one of ``graphs.restrict``.
      slots: a tree of leaves [k, ...].
      alive: bool[k], at least one true; all by default.

    Returns:
      One model, leaves [...].

    >>> from tele_jax import graphs
    >>> line, alive = graphs.exponential(3), jnp.array([True, True, False])
    >>> slots = jnp.array([0.0, 1.0, 5.0])
    >>> drift = mean_drift(graphs.restrict(line, alive).at(0), slots, alive)
    >>> bool(abs(drift) < 1e-6)
    True
    """
    size = num_slots(mixing)
    alive = jnp.ones(size, bool) if alive is None else alive
    share = alive / jnp.sum(alive)

    def drift(before: Array, after: Array) -> Array:
        moved = after.astype(_accumulator(before)) - before
        return jnp.tensordot(share, moved, axes=1, precision=_HIGHEST)

    return jax.tree.map(drift, slots, mix(mixing, slots))


def _accumulator(leaf: Array) -> jnp.dtype:
    return jnp.promote_types(leaf.dtype, jnp.float32)


def _weighted(weights: Array, leaf: Array) -> Array:
    return weights.reshape(-1, *(1,) * (leaf.ndim - 1)) * leaf


def _mix_repeatedly(mix_once: Callable[..., Array], rounds: Any, leaf: Array) -> Array:
    def one_round(leaf: Array, one: Any) -> tuple[Array, None]:
        return mix_once(one, leaf), None

    return jax.lax.scan(one_round, leaf, rounds)[0]


def _mix_by_gathers(mixing: Mixing, leaf: Array) -> Array:
    total = weighted_sum(mixing.senders, mixing.weights, leaf)
    return total.astype(leaf.dtype)


def _dense(mixing: Mixing) -> Array:
    """The mixing matrix itself, [k receivers, k senders]."""
    num_slots = mixing.senders.shape[1]
    receivers = jnp.broadcast_to(jnp.arange(num_slots), mixing.senders.shape)
    matrix = jnp.zeros((num_slots, num_slots), mixing.weights.dtype)
    return matrix.at[receivers, mixing.senders].add(mixing.weights)


def _mix_dense(matrix: Array, leaf: Array) -> Array:
    mixed = jnp.tensordot(
        matrix,
        leaf,
        axes=1,
        precision=_HIGHEST,
        preferred_element_type=_accumulator(leaf),
    )
    return mixed.astype(leaf.dtype)


def _mix_by_segments(mixing: Push, leaf: Array) -> Array:
    def add(total: Array, row: Push) -> tuple[Array, None]:
        return total.at[row.targets].add(_weighted(row.weights, leaf)), None

    # Written out for the few targets of a slot, so that XLA may join the loops.
    unroll = min(len(mixing.weights), MAX_UNROLLED)
    start = jnp.zeros_like(leaf, _accumulator(leaf))
    total, _ = jax.lax.scan(add, start, mixing, unroll=unroll)
    return total.astype(leaf.dtype)


def _mix_rank_one(mixing: RankOne, leaf: Array) -> Array:
    accumulator = _accumulator(leaf)
    common = jnp.tensordot(
        mixing.send,
        leaf,
        axes=1,
        precision=_HIGHEST,
        preferred_element_type=accumulator,
    )
    heard = _weighted(mixing.receive, common[None].astype(accumulator))
    return (_weighted(mixing.own, leaf) + heard).astype(leaf.dtype)
