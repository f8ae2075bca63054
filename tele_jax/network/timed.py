"""An algorithm on a network: the same iterates, and how long they take."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from tele_jax import tree
from tele_jax._types import Array, Key, Params, Slots
from tele_jax.algorithms.base import Info, TellsTraffic, Traffic
from tele_jax.mixing import RankOne
from tele_jax.network import phases
from tele_jax.network.clocks import NEVER, Clock, after, midnight, since
from tele_jax.network.network import Network
from tele_jax.tasks.base import Task


class TimedState(NamedTuple):
    """The state of the algorithm, and the clocks."""

    inner: Any
    free: Clock
    """[n]: when each node is done with all that it has done so far."""
    computed: Clock | None
    """[n]: when each node finished its last gradient; None without overlap."""
    now: Clock
    """[]: when the last slot was done with the last round."""

    @property
    def params(self) -> Slots:
        """The models, leaves [k, ...]."""
        return self.inner.params


class Times(NamedTuple):
    """When the parts of a round are done, seconds since the end of the last one."""

    traffic: Traffic
    start: Array
    """float32[k]: when each node begins its step."""
    computed: Array
    """float32[k]: when it has taken it."""
    done: Array
    """float32[k]: when it has gossiped; −∞ for slots that nobody steps."""
    latest: Array
    """float32[]: when the last is done."""
    sent: Array
    """float32[]: bytes."""


@struct.dataclass
class Timed:
    """An algorithm with simulated clocks, which change no iterate.

    T_i ← max_{j ∈ senders(i)} (T_j + compute_j + latency_ji + bytes / bandwidth_ji).

    ``Info.seconds`` is how much later the last slot is done with this round than with
    the one before, ``Info.bytes`` what was sent; ``metrics.elapsed`` adds up.

    Args:
      algorithm: ``DSGD``, ``Teleportation``, or anything with a ``traffic``.
      network: what sending and computing take.

    Source: F. Baccelli, G. Cohen, G. J. Olsder, J.-P. Quadrat, *Synchronization and
    Linearity*, Wiley 1992, for clocks in the (max, +) semiring.

    >>> import tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=4)
    >>> lan = tele.Network(tele.network.same(latency=0.25), tele.network.constant(1.0))
    >>> run = tele.simulate(Timed(tele.DSGD(tele.graphs.ring(8), 0.5), lan), task,
    ...                     jnp.ones(4), jax.random.key(1), num_rounds=2)
    >>> run.info.seconds.tolist()
    [1.25, 1.25]
    """

    algorithm: TellsTraffic
    network: Network

    @property
    def topology(self) -> Any:
        """The algorithm's."""
        return getattr(self.algorithm, "topology", None)

    @property
    def learning_rate(self) -> Any:
        """The algorithm's."""
        return getattr(self.algorithm, "learning_rate", 0.0)

    @property
    def local_steps(self) -> int:
        """The algorithm's."""
        return getattr(self.algorithm, "local_steps", 1)

    @property
    def slots_at_once(self) -> int | None:
        """The algorithm's."""
        return getattr(self.algorithm, "slots_at_once", None)

    def init(self, params: Params, task: Task) -> TimedState:
        """All clocks at 0."""
        _check(self, task.num_nodes)
        clocks = midnight((task.num_nodes,))
        computed = clocks if self.network.overlap else None
        inner = self.algorithm.init(params, task)
        return TimedState(inner, clocks, computed, midnight())

    def step(
        self, key: Key, state: TimedState, task: Task, t: Array
    ) -> tuple[TimedState, Info]:
        """The algorithm's round, and the times at which its parts are done."""
        inner, info = self.algorithm.step(key, state.inner, task, t)
        timed_state, times = self.time(key, state, inner, t)
        return timed_state, info._replace(seconds=times.latest, bytes=times.sent)

    def time(
        self, key: Key, state: TimedState, inner: Any, t: Array
    ) -> tuple[TimedState, Times]:
        """What round t took, if it led to the state ``inner`` of the algorithm."""
        network, now = self.network, state.now
        traffic = self.algorithm.traffic(key, state.inner, inner, t)
        _check_overlap(self, traffic)
        nodes = traffic.nodes
        num_bytes = _bytes_of_a_model(network, inner.params)
        free, start, fetched = phases.fetch(
            network, traffic, state.free, now, num_bytes
        )
        # Not one of the two keys that an algorithm splits its own into.
        seconds = network.compute.of(jax.random.fold_in(key, 2), nodes)
        seconds = self.local_steps * seconds
        computed, clocks = start + seconds, state.computed
        if clocks is not None:
            computed = jnp.maximum(
                start, since(phases.at(clocks, nodes), now) + seconds
            )
            clocks = phases.put(clocks, nodes, after(now, computed))
        waited = computed
        if traffic.patience is not None:
            waited = jnp.maximum(computed, start + traffic.patience)
        # An all-reduce begins when everybody knows who takes part.
        ready = waited if isinstance(traffic.gossip, RankOne) else computed
        done, gossiped = phases.gossip(network, traffic.gossip, nodes, ready, num_bytes)
        done = jnp.maximum(done, waited)
        done = jnp.where(nodes < 0, NEVER, done)
        latest = jnp.maximum(done.max(), 0.0)
        if network.barrier:
            done = jnp.full_like(done, latest)
        free = phases.put(free, nodes, after(now, done))
        if traffic.resting is not None:
            free = phases.put(free, traffic.resting, after(now, latest))
            if clocks is not None:
                clocks = phases.put(clocks, traffic.resting, after(now, latest))
        times = Times(traffic, start, computed, done, latest, fetched + gossiped)
        return TimedState(inner, free, clocks, after(now, latest)), times


def _bytes_of_a_model(network: Network, slots: Slots) -> Array:
    if network.model_bytes is not None:
        return jnp.asarray(network.model_bytes, jnp.float32)
    return jnp.float32(tree.num_bytes(slots) / tree.num_slots(slots))


def _check(timed: Timed, num_nodes: int) -> None:
    """Refuse, while tracing, a network of another size or what has no traffic."""
    algorithm, network = timed.algorithm, timed.network
    name = type(algorithm).__name__
    if not hasattr(algorithm, "traffic"):
        raise ValueError(
            f"Timed: {name} does not say what it sends; give it a method traffic("
            "key, before, after, t) that returns a tele_jax.algorithms.base.Traffic."
        )
    for what, part in (("links", network.links), ("compute", network.compute)):
        if part.num_nodes not in (None, num_nodes):
            raise ValueError(
                f"Timed: got {what} for {part.num_nodes} nodes, expected "
                f"{num_nodes}, as many as the task has."
            )
    for what, value, allowed in (
        ("sends", network.sends, ("parallel", "serial")),
        ("duplex", network.duplex, ("full", "half")),
        ("all_reduce", network.all_reduce, ("ring", "tree")),
    ):
        if value not in allowed:
            raise ValueError(
                f'Network: got {what}={value!r}, expected "{allowed[0]}" or '
                f'"{allowed[1]}".'
            )


def _check_overlap(timed: Timed, traffic: Traffic) -> None:
    if timed.network.overlap and traffic.source is not None:
        raise ValueError(
            f"Timed: {type(timed.algorithm).__name__} moves its models to other nodes, "
            "which have nothing to compute on before they arrive; use overlap=False."
        )
