"""A topology with other numbers, other weights, or some of its slots dead."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tele_jax import rewiring
from tele_jax._types import Array, Key
from tele_jax.graphs._rounds import check_key, round_key
from tele_jax.graphs.combine import round_form
from tele_jax.mixing import AnyMixing
from tele_jax.topology import Topology


@struct.dataclass
class Relabelled:
    """A topology whose slots have other numbers; made by ``relabel``."""

    topology: Topology
    permutation: Array

    @property
    def num_slots(self) -> int:
        """As before."""
        return self.topology.num_slots

    @property
    def period(self) -> int | None:
        """As before."""
        return self.topology.period

    def at(self, t: Array | int) -> AnyMixing:
        """Round t, relabelled."""
        return rewiring.relabel(self.topology.at(t), self.permutation)


def relabel(topology: Topology, permutation: Array) -> Relabelled:
    """Slot ``permutation[i]`` takes the place of slot i, W'[π(j), π(i)] = W[j, i].

    It preserves the mean if the topology does.

    Args:
      topology: of k slots.
      permutation: int[k], each of 0..k − 1 once, a leaf; not checked while tracing.

    Raises:
      ValueError: it is no permutation of the slots, or the topology is none.

    >>> from tele_jax import graphs
    >>> line = relabel(graphs.chain(3), np.array([1, 0, 2]))  # 0 in the middle
    >>> line.at(0).weights[:, 0].tolist().count(0.0)
    0
    """
    if not hasattr(topology, "at"):
        raise ValueError(
            f"relabel: got {type(topology).__name__}, expected the topology first."
        )
    size = topology.num_slots
    if isinstance(permutation, jax.core.Tracer):
        return Relabelled(topology, permutation.astype(jnp.int32))
    given = np.asarray(permutation)
    if given.shape != (size,) or not np.array_equal(np.sort(given), np.arange(size)):
        raise ValueError(
            f"relabel: got a permutation of shape {given.shape}, expected each of 0 to "
            f"{size - 1} once."
        )
    return Relabelled(topology, jnp.asarray(given, jnp.int32))


@struct.dataclass
class RandomlyRelabelled:
    """New numbers for all slots in every round; made by ``randomly_relabel``."""

    topology: Topology
    key: Key

    @property
    def num_slots(self) -> int:
        """As before."""
        return self.topology.num_slots

    @property
    def period(self) -> None:
        """Rounds are random."""

    def at(self, t: Array | int) -> AnyMixing:
        """Round t, relabelled."""
        slots = jnp.arange(self.num_slots, dtype=jnp.int32)
        key = round_key("randomly_relabel", self.key, t)
        permutation = jax.random.permutation(key, slots)
        return rewiring.relabel(self.topology.at(t), permutation)


def randomly_relabel(topology: Topology, key: Key) -> RandomlyRelabelled:
    """Every round the slots take the places of the topology in a new random order.

    E[W] has equal diagonal entries and equal others. It preserves the mean if the
    topology does.

    Args:
      topology: any.
      key: decides the orders of all rounds; a leaf.

    >>> from tele_jax import graphs
    >>> randomly_relabel(graphs.ring(9), jax.random.key(0)).at(2).senders.shape
    (3, 9)
    """
    return RandomlyRelabelled(topology, check_key("randomly_relabel", key))


@struct.dataclass
class Lazy:
    """A topology on which every slot keeps half of its model; made by ``lazy``."""

    topology: Topology

    @property
    def num_slots(self) -> int:
        """As before."""
        return self.topology.num_slots

    @property
    def period(self) -> int | None:
        """As before."""
        return self.topology.period

    def at(self, t: Array | int) -> AnyMixing:
        """½ (I + W) of round t."""
        return rewiring.lazy(self.topology.at(t))


def lazy(topology: Topology) -> Lazy:
    """½ (I + W): every slot keeps half of its own model.

    No eigenvalue of a symmetric W is negative then. It preserves the mean if the
    topology does.

    Raises:
      ValueError: the topology has several rounds of gossip per step.

    >>> from tele_jax import graphs
    >>> from tele_jax.topology import to_matrices
    >>> to_matrices(lazy(graphs.complete(2))).tolist()
    [[[0.75, 0.25], [0.25, 0.75]]]
    """
    laziness = Lazy(topology)
    round_form(laziness)  # refuses what cannot be lazy
    return laziness


@struct.dataclass
class Restricted:
    """A topology some of whose slots are dead; made by ``restrict``."""

    topology: Topology
    alive: Array

    @property
    def num_slots(self) -> int:
        """As before, the dead included."""
        return self.topology.num_slots

    @property
    def period(self) -> int | None:
        """As before."""
        return self.topology.period

    def at(self, t: Array | int) -> AnyMixing:
        """Round t among the living."""
        return rewiring.restrict(self.topology.at(t), self.alive)


def restrict(topology: Topology, alive: Array) -> Restricted:
    """Gossip among the living: what a slot does not hear, it takes of its own model.

    On undirected graphs both ends of a lost pair take its weight back, and the mean of
    the living is preserved. On directed ones every slot still averages (its weights
    keep their sum), but the mean may move: ``gossip.mean_drift`` says how far. The
    model of a dead slot stays as it is; it has to be finite, for it may still be read,
    times 0. Analysis counts the dead among those that disagree.

    Args:
      topology: of k slots.
      alive: bool[k], a leaf; at least one is true.

    Raises:
      ValueError: the shape or type is another, or nobody is alive.

    >>> from tele_jax import graphs
    >>> some = restrict(graphs.ring(4), np.array([True, True, True, False]))
    >>> int(some.at(0).weights[-1, 0] * 3 + 0.5)  # slot 0 keeps what 3 would send
    1
    """
    alive = jnp.asarray(alive)
    size, shape, dtype = topology.num_slots, alive.shape, alive.dtype
    if shape != (size,) or not jnp.issubdtype(dtype, jnp.bool):
        raise ValueError(
            f"restrict: got alive as {dtype}{list(shape)}, expected bool[{size}], true "
            "for every slot that lives."
        )
    if not isinstance(alive, jax.core.Tracer) and not np.any(alive):
        raise ValueError("restrict: nobody is alive, expected at least one slot.")
    return Restricted(topology, alive)
