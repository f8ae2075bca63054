"""Give the graphs of an algorithm routes, where the devices of a mesh share slots."""

import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tele_jax._types import Array
from tele_jax.devices import AXIS
from tele_jax.mixing import Mixing, Repeated
from tele_jax.routes import Route, may_route, plan

if TYPE_CHECKING:
    from tele_jax.topology import Topology

_MAX_ENTRIES = 10**8
"""Of the table of all senders of a period, which is looked at on the host."""
_PLANNED: dict[Any, "Plan | None"] = {}
"""A topology, by the numbers of its arrays, and what was planned for it."""


@struct.dataclass
class Routed:
    """A topology whose models travel by routes; ``simulate`` plans them."""

    topology: "Topology"
    each: tuple[Route, ...]
    """Of all different rounds."""
    due: Array
    """int32[p], or int32[p, times] of repeated rounds: which one a round takes."""

    def __getattr__(self, name: str) -> Any:
        """All else is as without routes: ``at``, ``period``, and what is its own."""
        if name == "topology" or name.startswith("__"):  # when there is none yet
            raise AttributeError(name)
        return getattr(self.topology, name)


class Plan(NamedTuple):
    """How models travel in every round of a period; the fields are those of Routed."""

    each: tuple[Route, ...]
    due: Array


def with_routes(part: Any) -> Any:
    """An algorithm whose topology has routes, where the devices of a mesh share slots.

    Senders that are traced, as under a ``vmap`` over topologies, are not known on the
    host; weights may be.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if AXIS not in mesh.axis_names:
        return part

    def is_topology(node: Any) -> bool:
        return callable(getattr(node, "at", None)) and hasattr(node, "num_slots")

    def add(node: Any) -> Any:
        if not is_topology(node):
            return node
        found = planned(node, mesh.shape[AXIS])
        return node if found is None else Routed(node, *found)

    return jax.tree.map(add, part, is_leaf=is_topology)


def planned(topology: "Topology", num_devices: int) -> Plan | None:
    """The routes of a topology, remembered as long as all of its arrays live.

    Every chunk of a long run asks anew.

    Args:
      topology: any; random rounds have no routes.
      num_devices: D, which share its slots.

    >>> from tele_jax import graphs
    >>> found = planned(graphs.repeat(graphs.one_peer_exponential(16), 2), 4)
    >>> len(found.each), found.due.tolist()  # rounds 0 and 1 of 4, then 2 and 3
    (4, [[0, 1], [2, 3]])
    """
    period = getattr(topology, "period", None)
    if period is None or not may_route(period, topology.num_slots, num_devices):
        return None
    leaves, structure = jax.tree.flatten(topology)
    if not all(map(_is_lasting, leaves)):
        return _plan(topology, period, num_devices)
    key = (structure, num_devices, *map(id, leaves))  # arrays have no hash
    if key not in _PLANNED:
        _PLANNED[key] = _plan(topology, period, num_devices)
        for leaf in leaves:
            weakref.finalize(leaf, _PLANNED.pop, key, None)
    return _PLANNED[key]


def _is_lasting(leaf: Any) -> bool:
    """Whether its numbers are known and stay: NumPy's may be written over."""
    return isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer)


def _plan(topology: "Topology", period: int, num_devices: int) -> Plan | None:
    # Within somebody's jit, arrays made here would be its tracers, and not last.
    with jax.ensure_compile_time_eval():
        senders = _senders(topology, period)
        if senders is None:
            return None
        different: dict[bytes, int] = {}
        rounds: list[np.ndarray] = []
        due = []
        for one in senders.reshape(-1, *senders.shape[-2:]):
            number = different.setdefault(one.tobytes(), len(different))
            due.append(number)
            if number == len(rounds):
                rounds.append(one)
        each = plan(np.stack(rounds), num_devices)
        if each is None:
            return None
        return Plan(each, jnp.asarray(due, jnp.int32).reshape(senders.shape[:-2]))


def _senders(topology: "Topology", period: int) -> np.ndarray | None:
    """Who is heard in all rounds of a period, int32[p, m, k] or [p, times, m, k]."""
    # Traced numbers, as those of the rounds within ``repeat``, do not index NumPy's.
    topology = jax.tree.map(_of_jax, topology)
    found = []
    # One by one: what a user's ``at`` does may not be for vmap.
    for t in range(period):
        mixing = _rounds_of(topology.at(jnp.int32(t)))
        if not isinstance(mixing, Mixing) or isinstance(
            mixing.senders, jax.core.Tracer
        ):
            return None
        if period * mixing.senders.size > _MAX_ENTRIES:
            return None
        found.append(np.asarray(mixing.senders))
    return np.stack(found)


def _of_jax(leaf: Any) -> Any:
    return jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf


def _rounds_of(mixing: Any) -> Any:
    """The one round of a step, or its several rounds stacked."""
    return mixing.rounds if isinstance(mixing, Repeated) else mixing
