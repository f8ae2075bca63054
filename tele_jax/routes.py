"""Gossip between devices that share the slots: only models that are needed travel.

A gather of rows from an array that is divided over devices brings *all* rows to every
device, since XLA cannot know which ones a traced number will name. So the rows are
looked up on the host, before the program is compiled: for every distance between two
devices, which of its own slots a device sends so far. The distances are static, and
each becomes one collective-permute.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jax.sharding import PartitionSpec

from tele_jax._in_place import over_columns
from tele_jax._once import once
from tele_jax._types import Array, Slots
from tele_jax.devices import AXIS

MAX_UNROLLED = 16
"""Longest sum of row-gathers written out: compile time grows with its length."""
_MAX_ROUNDS = 64
"""So many different rounds are written out as branches of one program."""


@struct.dataclass
class Leg:
    """What every device sends to the one ``distance`` places further on."""

    rows: Array
    """int32[D, c]: which of its own slots; slot 0 fills up short rows."""
    distance: int = struct.field(pytree_node=False)


@struct.dataclass
class Route:
    """How the models of one round travel between devices."""

    legs: tuple[Leg, ...]
    places: Array
    """int32[m, k]: where slot i finds the model of its sender: among the slots of its
    own device, which come first, or what arrived by the legs, in turn."""
    edges: Array | None
    """int32[D, e, 2]: which places of a device's slots, (c, i), name what arrived; -1
    fills up. None if they are many, or all that a slot hears."""


@struct.dataclass
class Routes:
    """The routes of all different rounds, and which of them is due."""

    each: tuple[Route, ...]
    due: Array
    """int32[]; of several rounds one after the other, int32[times]."""


def may_route(num_rounds: int, num_slots: int, num_devices: int) -> bool:
    """Whether rounds are few enough, and several devices divide the slots.

    >>> may_route(1, 8, 2), may_route(1, 9, 2), may_route(65, 8, 2), may_route(1, 8, 1)
    (True, False, False, False)
    """
    divided = num_devices > 1 and num_slots % num_devices == 0
    return divided and num_rounds <= _MAX_ROUNDS


def plan(senders: np.ndarray, num_devices: int) -> tuple[Route, ...] | None:
    """The routes of some rounds.

    Args:
      senders: int[r, m, k], who is heard in each of them, as in ``Mixing``.
      num_devices: D, which share the k slots.

    Returns:
      One route for every round; None where XLA may as well bring all models to all
      devices: D does not divide k, the routes would bring as many, or the rounds are
      too many to be written out.

    >>> ring = np.stack([(np.arange(8) + shift) % 8 for shift in (0, 1, -1)])
    >>> (route,) = plan(ring[None], 2)
    >>> [(leg.distance, leg.rows.tolist()) for leg in route.legs]
    [(1, [[0, 3], [0, 3]])]
    """
    num_rounds, _, num_slots = senders.shape
    if not may_route(num_rounds, num_slots, num_devices):
        return None
    routes = tuple(_route(round_, num_devices) for round_ in senders)
    if max(map(models_received, routes)) >= num_slots - num_slots // num_devices:
        return None
    return routes


def models_received(route: Route) -> int:
    """How many models every device receives from others in that round.

    >>> swap = np.array([[1, 0, 3, 2]])
    >>> models_received(plan(swap[None], 2)[0])
    0
    """
    return sum(leg.rows.shape[1] for leg in route.legs)


def _route(senders: np.ndarray, num_devices: int) -> Route:
    own = senders.shape[1] // num_devices  # slots of a device
    receiver = np.arange(senders.shape[1]) // own
    distances = (receiver - senders // own) % num_devices
    places = senders % own
    legs, arrived = [], own
    for distance in range(1, num_devices):
        on_leg = distances == distance
        if not on_leg.any():
            continue
        models = np.unique(senders[on_leg])  # sorted, so device by device
        first = np.searchsorted(models, own * np.arange(num_devices + 1))
        length = np.diff(first).max()
        rows = np.zeros((num_devices, length), np.int32)
        device, rank = models // own, np.arange(len(models)) - first[models // own]
        rows[device, rank] = models % own
        legs.append(Leg(jnp.asarray(rows), distance))
        places[on_leg] = arrived + rank[np.searchsorted(models, senders[on_leg])]
        arrived += length
    edges = _edges_of_arrivals(places, num_devices)
    return Route(tuple(legs), jnp.asarray(places, jnp.int32), edges)


def _edges_of_arrivals(places: np.ndarray, num_devices: int) -> Array | None:
    own = places.shape[1] // num_devices
    found = [
        np.argwhere(of_device >= own) for of_device in np.split(places, num_devices, 1)
    ]
    length = max(map(len, found))
    nothing_at_home = (places >= own).all(0).any()
    # An edge reads two models and writes one; the alternative copies all, once.
    if nothing_at_home or length > min(MAX_UNROLLED, own // 2):
        return None
    edges = np.full((num_devices, length, 2), -1, np.int32)
    for row, of_device in zip(edges, found, strict=True):
        row[: len(of_device)] = of_device
    return jnp.asarray(edges)


def exchange(routes: Routes, weights: Array, slots: Slots) -> Slots:
    """x_i ← Σ_c weights[c, i] · x[senders[c, i]] of slots that devices share.

    Args:
      routes: made for the mesh in effect.
      weights: float[m, k].
      slots: a tree of floating-point leaves [k, ...].

    Returns:
      A tree of the same shapes and dtypes, summed in float32 or wider.
    """
    # One switch for the whole tree: each is a branch on the host of an accelerator.
    branches = [functools.partial(_by_legs, route) for route in routes.each]
    return lax.switch(routes.due, branches, weights, slots)


def _by_legs(route: Route, weights: Array, slots: Slots) -> Slots:
    divided, table = PartitionSpec(AXIS), PartitionSpec(None, AXIS)
    return jax.shard_map(
        _on_a_device,
        in_specs=(divided, table, divided, table, divided),
        out_specs=divided,
        axis_names={AXIS},
        check_vma=False,
    )(route.legs, route.places, route.edges, weights, slots)


def _on_a_device(
    legs: tuple[Leg, ...],
    places: Array,
    edges: Array | None,
    weights: Array,
    slots: Slots,
) -> Slots:
    table = (places, weights, None if edges is None else edges[0])
    num_devices = lax.axis_size(AXIS)

    def mixed(own: Array) -> Array:
        arrived: list[Array] = []
        for leg in legs:
            to = [(d, (d + leg.distance) % num_devices) for d in range(num_devices)]
            arrived.append(lax.ppermute(own[leg.rows[0]], AXIS, to))
        return over_columns(_summed, table, own, *arrived)

    return jax.tree.map(mixed, slots)


def _summed(table: Any, own: Array, *arrived: Array) -> Array:
    places, weights, edges = table
    if edges is None:  # all models side by side, to be looked up
        total = weighted_sum(places, weights, jnp.concatenate([own, *arrived]))
    else:
        total = _added(edges, places, weights, own, arrived)
    return total.astype(own.dtype)


def _added(
    edges: Array, places: Array, weights: Array, own: Array, arrived: Sequence[Array]
) -> Array:
    """The sum over a device's own models, to which what arrived is added in place."""
    num_slots = len(own)
    from_others = places >= num_slots
    # Another that it hears stands in, not counted: 0 times what is not finite is NaN.
    heard = jnp.take_along_axis(places, jnp.argmin(from_others, 0)[None], 0)
    here = jnp.where(from_others, heard, places)
    total = weighted_sum(here, jnp.where(from_others, 0, weights), own)
    models = jnp.concatenate(arrived) if arrived else own
    for column, slot in edges:
        model = models[places[column, slot] - num_slots]
        term = jnp.where(column < 0, 0, weights[column, slot] * model)
        total = lax.dynamic_update_index_in_dim(total, total[slot] + term, slot, 0)
    return total


def weighted_sum(places: Array, weights: Array, leaf: Array) -> Array:
    """Σ_c weights[c, i] · leaf[places[c, i]], in float32 or wider: [k, ...]."""

    def term(places: Array, weights: Array) -> Array:
        return weights.reshape(-1, *(1,) * (leaf.ndim - 1)) * leaf[places]

    leaf = once(leaf)  # every sender of a slot would compute it again
    shape = (places.shape[1], *leaf.shape[1:])
    total = jnp.zeros(shape, jnp.promote_types(leaf.dtype, jnp.float32))
    if len(places) <= MAX_UNROLLED:
        for row in zip(places, weights, strict=True):
            total += term(*row)
        return total

    def add(total: Array, row: tuple[Array, Array]) -> tuple[Array, None]:
        return total + term(*row), None

    return lax.scan(add, total, (places, weights))[0]
