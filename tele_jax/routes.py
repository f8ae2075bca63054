"""Gossip between devices that share the slots: only models that are needed travel.

A gather of rows from an array that is divided over devices brings *all* rows to every
device, since XLA cannot know which ones a traced number will name. So the rows are
looked up on the host, before the program is compiled: for every distance between two
devices, which of its own slots a device sends so far. The distances are static, and
each becomes one collective-permute.
"""

import functools

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
    return Route(tuple(legs), jnp.asarray(places, jnp.int32))


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
        in_specs=(divided, table, table, divided),
        out_specs=divided,
        axis_names={AXIS},
        check_vma=False,
    )(route.legs, route.places, weights, slots)


def _on_a_device(
    legs: tuple[Leg, ...], places: Array, weights: Array, slots: Slots
) -> Slots:
    num_devices = lax.axis_size(AXIS)

    def mixed(own: Array) -> Array:
        if not own.size:  # XLA has no gradient of nothing that travels
            return own
        arrived: list[Array] = []
        for leg in legs:
            to = [(d, (d + leg.distance) % num_devices) for d in range(num_devices)]
            arrived.append(lax.ppermute(own[leg.rows[0]], AXIS, to))
        return over_columns(_summed, (places, weights), own, *arrived)

    return jax.tree.map(mixed, slots)


def _summed(table: tuple[Array, Array], own: Array, *arrived: Array) -> Array:
    return weighted_sum(*table, own, *arrived).astype(own.dtype)


def weighted_sum(places: Array, weights: Array, leaf: Array, *arrived: Array) -> Array:
    """Σ_c weights[c, i] · x[places[c, i]], in float32 or wider: [k, ...].

    Args:
      places: int32[m, k].
      weights: float[m, k].
      leaf: the first models of x, [k, ...].
      arrived: its other models, [..., ...], numbered on from k.
    """
    own = once(leaf)  # every sender of a slot would compute it again
    others = jnp.concatenate(arrived) if arrived else None

    def term(places: Array, weights: Array) -> Array:
        return beside(weights, leaf) * _models(places, own, others)

    shape = (places.shape[1], *leaf.shape[1:])
    total = jnp.zeros(shape, jnp.promote_types(leaf.dtype, jnp.float32))
    if len(places) <= MAX_UNROLLED:
        for row in zip(places, weights, strict=True):
            total += term(*row)
        return total

    def add(total: Array, row: tuple[Array, Array]) -> tuple[Array, None]:
        return total + term(*row), None

    return lax.scan(add, total, (places, weights))[0]


def _models(places: Array, own: Array, others: Array | None) -> Array:
    """Those at some places, without all of them side by side in memory."""
    if others is None:
        return own[places]
    is_other = places >= len(own)
    found = others[jnp.where(is_other, places - len(own), 0)]
    at_home = own[jnp.where(is_other, 0, places)]
    return jnp.where(beside(is_other, own), found, at_home)


def beside(numbers: Array, leaf: Array) -> Array:
    """One number for each slot, beside the slots' models."""
    return numbers.reshape(-1, *(1,) * (leaf.ndim - 1))
