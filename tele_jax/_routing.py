"""Give the graphs of an algorithm routes, where the devices of a mesh share slots."""

import dataclasses
from typing import Any

import jax

from tele_jax.devices import AXIS
from tele_jax.routes import plan
from tele_jax.topology import Periodic


def with_routes(part: Any) -> Any:
    """An algorithm whose topology has routes, where the devices of a mesh share slots.

    Only a ``Periodic`` that is not part of another topology gets any. Of one that is
    traced, as under a ``vmap`` over topologies, nothing is known on the host.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if AXIS not in mesh.axis_names:
        return part

    def is_topology(node: Any) -> bool:
        return callable(getattr(node, "at", None)) and hasattr(node, "num_slots")

    def add(node: Any) -> Any:
        # A subclass may have another ``at``.
        if type(node) is not Periodic or isinstance(node.senders, jax.core.Tracer):
            return node
        routes = plan(node.senders, mesh.shape[AXIS])
        return dataclasses.replace(node, routes=routes)

    return jax.tree.map(add, part, is_leaf=is_topology)
