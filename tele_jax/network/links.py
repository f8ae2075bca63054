"""What a message costs between two nodes: rules, not tables of all n² pairs.

The last of the B bytes of a message leaves after B / bandwidth seconds and arrives
latency seconds later.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tele_jax._types import Array, Scalar
from tele_jax.mixing import AnyMixing, RankOne, Repeated, unstack
from tele_jax.network import _numbers as numbers
from tele_jax.topology import Topology


class Link(NamedTuple):
    """One-way costs, of any shape."""

    latency: Array
    """Seconds."""
    bandwidth: Array
    """Bytes per second."""


class Links(Protocol):
    """The cost of a message between any two nodes: a frozen pytree dataclass."""

    @property
    def num_nodes(self) -> int | None:
        """The number n of nodes that it is made for; None if any."""

    def between(self, i: Array, j: Array) -> Link:
        """From nodes i to nodes j, int32 of one shape; never asked for i = j."""


@struct.dataclass
class Same:
    """All pairs alike; made by ``same``."""

    latency: Scalar
    bandwidth: Scalar

    @property
    def num_nodes(self) -> None:
        """Any."""

    def between(self, i: Array, j: Array) -> Link:
        """The one link."""
        del j
        return Link(*(jnp.broadcast_to(part, i.shape) for part in _costs(self)))


def same(latency: Scalar = 0.0, bandwidth: Scalar = np.inf) -> Same:
    """Every pair of nodes is linked alike.

    Args:
      latency: seconds, at least 0; a leaf.
      bandwidth: bytes per second, more than 0; a leaf.

    Raises:
      ValueError: a number is out of its range.

    >>> same(0.1, 1e6).between(jnp.int32(0), jnp.int32(1)).latency.tolist()
    0.10000000149011612
    """
    return Same(*numbers.check_costs("same", latency, bandwidth))


@struct.dataclass
class Preferred:
    """Some links are better than all others; made by ``preferred``."""

    neighbours: Array
    """int32[m, n]: to whom a node is linked well, padded with itself."""
    slowdown: Scalar
    latency: Scalar
    bandwidth: Scalar

    @property
    def num_nodes(self) -> int:
        """As many as the topology of the preferred links has slots."""
        return self.neighbours.shape[1]

    def between(self, i: Array, j: Array) -> Link:
        """τ times the cost unless j is a neighbour of i."""
        is_preferred = (self.neighbours[:, i] == j[None]).any(axis=0)
        factor = jnp.where(is_preferred, 1.0, self.slowdown)
        latency, bandwidth = _costs(self)
        return Link(factor * latency, bandwidth / factor)


def preferred(
    neighbours: np.ndarray,
    slowdown: Scalar,
    latency: Scalar = 0.0,
    bandwidth: Scalar = np.inf,
) -> Preferred:
    """A message costs τ times as much where two nodes are no neighbours.

    The setting of the paper's Section 5.3, as we read it: DSGD gossips along preferred
    links, TELEPORTATION between any two nodes.

    Args:
      neighbours: int[m, n], the neighbours of every node, padded with the node itself:
        ``network.neighbours_of(topology)``.
      slowdown: τ, at least 1; a leaf.
      latency: of a preferred link, seconds; a leaf.
      bandwidth: of a preferred link, bytes per second; a leaf.

    Raises:
      ValueError: τ is below 1, or another number is out of its range.

    Source: Takezawa & Stich, ICLR 2025, arXiv 2501.15259, Section 5.3.

    >>> ring = preferred(np.array([[3, 0, 1, 2], [1, 2, 3, 0]]), 5.0, latency=0.1)
    >>> ring.between(jnp.array([0, 0]), jnp.array([1, 2])).latency.tolist()
    [0.10000000149011612, 0.5]
    """
    numbers.check("preferred", "slowdown", slowdown, at_least=1.0)
    table = np.asarray(neighbours)
    if table.ndim != 2 or not np.issubdtype(table.dtype, np.integer):
        raise ValueError(
            f"preferred: got neighbours as {table.dtype}{list(table.shape)}, expected "
            "int[m, n]; make them with network.neighbours_of(topology)."
        )
    if table.size and not (table.min() >= 0 and table.max() < table.shape[1]):
        raise ValueError(
            f"preferred: neighbours are {table.min()} to {table.max()}, expected nodes "
            f"from 0 to {table.shape[1] - 1}."
        )
    costs = numbers.check_costs("preferred", latency, bandwidth)
    return Preferred(jnp.asarray(table, jnp.int32), slowdown, *costs)


def neighbours_of(topology: Topology) -> np.ndarray:
    """Whom every slot ever hears or is heard by, int[m, k], padded with the slot.

    Args:
      topology: one with a period.

    Raises:
      ValueError: its rounds are random.

    >>> from tele_jax import graphs
    >>> np.sort(neighbours_of(graphs.ring(4)), axis=0).tolist()
    [[1, 0, 1, 0], [3, 2, 3, 2]]
    """
    if not hasattr(topology, "period"):
        raise ValueError(
            f"neighbours_of: got {topology!r}, expected a topology such as "
            "graphs.ring(8)."
        )
    if topology.period is None:
        raise ValueError(
            f"neighbours_of: {type(topology).__name__} is random and has no period, "
            "expected a topology whose links are known."
        )
    size = topology.num_slots
    pairs = np.concatenate([_pairs(topology.at(t)) for t in range(topology.period)])
    both = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64)
    both = both[both[:, 0] != both[:, 1]]
    slots, others = np.divmod(np.unique(both @ [size, 1]), size)
    degrees = np.bincount(slots, minlength=size)
    table = np.tile(np.arange(size), (max(1, int(degrees.max())), 1))
    place = np.arange(slots.size) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    table[place, slots] = others
    return table


def _pairs(mixing: AnyMixing) -> np.ndarray:
    """Who hears whom, int[e, 2]."""
    if isinstance(mixing, Repeated):
        return np.concatenate([_pairs(one) for one in unstack(mixing.rounds)])
    if isinstance(mixing, RankOne):
        raise ValueError(
            "neighbours_of: everybody hears everybody, expected a sparse topology; "
            "use network.same."
        )
    other, weights = (np.asarray(part) for part in mixing)
    own = np.broadcast_to(np.arange(other.shape[1]), other.shape)
    return np.stack([own[weights != 0], other[weights != 0]], axis=1)


@struct.dataclass
class ByRule:
    """A function of two nodes; made by ``by_rule``."""

    rule: Callable[[Array, Array], tuple[Array, Array]]
    num_nodes: None = struct.field(pytree_node=False, default=None)

    def between(self, i: Array, j: Array) -> Link:
        """What the function says."""
        parts = (jnp.asarray(part, jnp.float32) for part in self.rule(i, j))
        return Link(*(jnp.broadcast_to(part, i.shape) for part in parts))


def by_rule(rule: Callable[[Array, Array], tuple[Array, Array]]) -> ByRule:
    """Any other network.

    Args:
      rule: ``(i, j) -> (latency, bandwidth)`` in jnp, on int32 arrays of one shape; a
        function at module level, or a ``jax.tree_util.Partial`` whose numbers are
        leaves. Costs of a sample of pairs are checked
        when a run begins.

    Raises:
      ValueError: it is no function.

    >>> links = by_rule(lambda i, j: (0.1 * abs(i - j), 1e6))
    >>> round(float(links.between(jnp.int32(0), jnp.int32(3)).latency), 3)
    0.3
    """
    if not callable(rule):
        raise ValueError(f"by_rule: got {rule!r}, expected a function of two nodes.")
    partial = isinstance(rule, jax.tree_util.Partial)
    return ByRule(rule if partial else jax.tree_util.Partial(rule))


def _costs(links: Same | Preferred) -> tuple[Array, Array]:
    latency = jnp.asarray(links.latency, jnp.float32)
    return latency, jnp.asarray(links.bandwidth, jnp.float32)
