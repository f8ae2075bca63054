"""Give the graphs of an algorithm routes, where the devices of a mesh share slots."""

import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tele_jax._types import Array
from tele_jax.devices import AXIS
from tele_jax.mixing import AnyMixing, Mixing, Repeated
from tele_jax.routes import Route, plan

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

    @property
    def num_slots(self) -> int:
        """As without routes."""
        return self.topology.num_slots

    @property
    def period(self) -> int | None:
        """As without routes."""
        return self.topology.period

    def at(self, t: Array | int) -> AnyMixing:
        """As without routes."""
        return self.topology.at(t)


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
    if topology.period is None:
        return None
    leaves, structure = jax.tree.flatten(topology)
    if not all(map(_is_known, leaves)):
        return _plan(topology, num_devices)
    key = (structure, num_devices, *map(id, leaves))  # arrays have no hash
    if key not in _PLANNED:
        _PLANNED[key] = _plan(topology, num_devices)
        for leaf in leaves:
            weakref.finalize(leaf, _PLANNED.pop, key, None)
    return _PLANNED[key]


def _is_known(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer)


def _plan(topology: "Topology", num_devices: int) -> Plan | None:
    # Within somebody's jit, arrays made here would be its tracers, and not last.
    with jax.ensure_compile_time_eval():
        senders = _senders(topology)
        if senders is None:
            return None
        rounds = senders.reshape(-1, *senders.shape[-2:])
        numbers: dict[bytes, int] = {}
        due = [numbers.setdefault(one.tobytes(), len(numbers)) for one in rounds]
        different = rounds[[due.index(number) for number in range(len(numbers))]]
        each = plan(different, num_devices)
        if each is None:
            return None
        return Plan(each, jnp.asarray(due, jnp.int32).reshape(senders.shape[:-2]))


def _senders(topology: "Topology") -> np.ndarray | None:
    """Who is heard in all rounds of a period, int32[p, m, k] or [p, times, m, k]."""
    assert topology.period is not None
    form = _once_a_step(jax.eval_shape(topology.at, jnp.int32(0)))
    if not isinstance(form, Mixing):
        return None
    if topology.period * form.senders.size > _MAX_ENTRIES:
        return None
    rounds = jax.vmap(topology.at)(jnp.arange(topology.period, dtype=jnp.int32))
    senders = _once_a_step(rounds).senders
    return None if isinstance(senders, jax.core.Tracer) else np.asarray(senders)


def _once_a_step(mixing: Any) -> Any:
    return mixing.rounds if isinstance(mixing, Repeated) else mixing
