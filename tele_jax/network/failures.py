"""What goes wrong: nodes that crash, links that drop, stragglers that are not awaited.

Nothing here has a state: whether node i is down in round t follows from a key, i and t,
so asking for the k active nodes costs nothing for the other n − k.
"""

from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tele_jax._types import Array, Key, Scalar
from tele_jax.network import _numbers as numbers
from tele_jax.network.compute import Compute


class Crashes(Protocol):
    """When which node is down: a frozen pytree dataclass."""

    for_good: ClassVar[bool]
    """Whether nobody ever comes back."""

    @property
    def num_nodes(self) -> int | None:
        """The number n of nodes that it is made for; None if any."""

    def alive(self, nodes: Array, t: Array) -> Array:
        """Whether these nodes, int32[e], are up in round t, bool[e]."""


@struct.dataclass
class Outages:
    """Nodes that go down and come back; made by ``outages``."""

    key: Key
    probability: Scalar
    duration: Scalar
    num_nodes: None = struct.field(pytree_node=False, default=None)
    for_good: ClassVar[bool] = False

    def alive(self, nodes: Array, t: Array) -> Array:
        """By the window of the node that round t falls into."""

        def up(node: Array) -> Array:
            key = jax.random.fold_in(self.key, node)
            phase = jax.random.randint(key, (), 0, self.duration)
            window = jax.random.fold_in(key, (t + phase) // self.duration)
            return jax.random.uniform(window) >= self.probability

        return jax.vmap(up)(nodes)


def outages(key: Key, probability: Scalar, duration: Scalar) -> Outages:
    """Every node is down for some windows of so many rounds, and then comes back.

    The windows of a node begin at a random round; it is down in each independently, so
    the number of living nodes in a round is binomial, n trials with 1 − probability.

    Args:
      key: decides which; a leaf.
      probability: that a node is down, 0 to 1; a leaf.
      duration: rounds of a window, an integer of at least 1; a leaf.

    Raises:
      ValueError: a number is out of its range.

    >>> ten = outages(jax.random.key(0), 0.5, 3).alive(jnp.arange(10), jnp.int32(7))
    >>> 0 < int(ten.sum()) < 10
    True
    """
    numbers.check("outages", "probability", probability, at_most=1.0, single=True)
    numbers.check("outages", "duration", duration, at_least=1.0, whole=True)
    return Outages(key, probability, jnp.asarray(duration, jnp.int32))


@struct.dataclass
class Departures:
    """Nodes that go down for good; made by ``departures``."""

    key: Key
    rate: Scalar
    num_nodes: None = struct.field(pytree_node=False, default=None)
    for_good: ClassVar[bool] = True

    def alive(self, nodes: Array, t: Array) -> Array:
        """Until the node's own last round."""

        def up(node: Array) -> Array:
            # P(up in round t) = (1 − rate)ᵗ, from one number per node.
            u = jax.random.uniform(jax.random.fold_in(self.key, node))
            return jnp.log1p(-u) <= t * jnp.log1p(-jnp.asarray(self.rate, jnp.float32))

        return jax.vmap(up)(nodes)


def departures(key: Key, rate: Scalar) -> Departures:
    """Every round, every node that is left leaves for good with the same probability.

    Args:
      key: decides who and when; a leaf.
      rate: the probability, 0 to 0.999999; a leaf. All are up in round 0.

    Raises:
      ValueError: it is out of its range.

    >>> left = departures(jax.random.key(0), 0.1).alive(jnp.arange(9), jnp.int32(500))
    >>> int(left.sum())
    0
    """
    numbers.check("departures", "rate", rate, at_most=0.999999, single=True)
    return Departures(key, rate)


@struct.dataclass
class Planned:
    """Nodes that are down when it is written; made by ``planned``."""

    first: Array
    """int32[n]"""
    end: Array
    """int32[n]"""
    for_good: ClassVar[bool] = False

    @property
    def num_nodes(self) -> int:
        """As many as entries."""
        return self.first.shape[0]

    def alive(self, nodes: Array, t: Array) -> Array:
        """Outside of first ≤ t < end."""
        return (t < self.first[nodes]) | (t >= self.end[nodes])


def planned(first: np.ndarray, end: np.ndarray) -> Planned:
    """Node i is down in the rounds first_i ≤ t < end_i.

    Args:
      first: int[n]; a leaf.
      end: int[n], of the same shape; first_i = end_i for a node that never is; a leaf.

    Raises:
      ValueError: they differ in shape, or are no rounds.

    >>> one = planned([0, 5], [0, 9])
    >>> one.alive(jnp.array([0, 1]), jnp.int32(6)).tolist()
    [True, False]
    """
    both = [np.asarray(part) for part in (first, end)]
    if both[0].ndim != 1 or both[0].shape != both[1].shape:
        raise ValueError(
            f"planned: got first and end of shapes {both[0].shape} and "
            f"{both[1].shape}, expected one round for every node in each."
        )
    for what, given in zip(("first", "end"), both, strict=True):
        numbers.check("planned", what, given, whole=True)
    return Planned(*(jnp.asarray(part, jnp.int32) for part in both))


@struct.dataclass
class Failures:
    """All that goes wrong.

    Args:
      crashes: ``network.outages``, ``departures`` or ``planned``; None: nobody crashes.
        A node that is down takes no step, and its model stays as it is.
      drop: the probability that a link between two nodes is cut in a round, both ways;
        None: never.
      one_way: each direction is cut on its own. Every slot still averages, but the mean
        drifts.
      compute: the seconds of a local step; the network's, if the run is ``Timed``.
      timeout: slots whose step takes longer are not awaited: they neither send nor
        receive in this round, and keep what they computed. It bounds how long a step is
        waited for, not how far behind a slot is that was late before.

    >>> Failures(drop=0.1).one_way
    False
    """

    crashes: Crashes | None = None
    drop: Scalar | None = None
    one_way: bool = struct.field(pytree_node=False, default=False)
    compute: Compute | None = None
    timeout: Scalar | None = None

    def alive(self, nodes: Array, t: Array) -> Array:
        """Whether these nodes, int32[e], are up in round t; −1 is nobody."""
        if self.crashes is None:
            return nodes >= 0
        return self.crashes.alive(jnp.maximum(nodes, 0), t) & (nodes >= 0)

    def in_time(self, key: Key, nodes: Array) -> Array:
        """Whether the local steps of these nodes are awaited, bool[e].

        Args:
          key: the round's.
          nodes: int32[e].
        """
        if self.timeout is None or self.compute is None:
            return jnp.ones(nodes.shape, bool)
        return self.compute.of(jax.random.fold_in(key, 2), nodes) <= self.timeout

    def cut(self, key: Key, i: Array, j: Array) -> Array:
        """Whether the link from nodes i to nodes j is cut, bool of their shape."""
        if self.drop is None:
            return jnp.zeros(i.shape, bool)
        if not self.one_way:
            i, j = jnp.minimum(i, j), jnp.maximum(i, j)
        stream = jax.random.fold_in(key, 3)

        def is_cut(i: Array, j: Array) -> Array:
            link = jax.random.fold_in(jax.random.fold_in(stream, i), j)
            return jax.random.uniform(link) < jnp.asarray(self.drop)

        found = jax.vmap(is_cut)(i.ravel(), j.ravel()).reshape(i.shape)
        return found & (i != j)


def check_numbers(name: str, failures: Failures) -> None:
    """Refuse, on the host, numbers out of range."""
    if not isinstance(failures, Failures):
        raise ValueError(
            f"{name}: got {type(failures).__name__} as failures, expected Failures("
            "crashes, drop=...)."
        )
    if failures.drop is not None:
        numbers.check(name, "drop", failures.drop, at_most=1.0, single=True)
    if failures.timeout is not None:
        numbers.check(name, "timeout", failures.timeout, single=True)


def check_sizes(name: str, failures: Failures, num_nodes: int) -> None:
    """Refuse what is made for another number of nodes."""
    if (failures.timeout is None) != (failures.compute is None):
        raise ValueError(
            f"{name}: got one of timeout and compute, expected both or none: what "
            "takes longer than the timeout is not awaited."
        )
    for what in ("crashes", "compute"):
        made_for = getattr(getattr(failures, what), "num_nodes", None)
        if made_for not in (None, num_nodes):
            raise ValueError(
                f"{name}: got {what} for {made_for} nodes, expected {num_nodes}, as "
                "many as the task has."
            )
