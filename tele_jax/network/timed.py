"""An algorithm on a network: the same iterates, and how long they take."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from tele_jax import tree
from tele_jax._types import Array, Key, Params, Slots
from tele_jax.algorithms.base import Algorithm, Info, Traffic
from tele_jax.mixing import AnyMixing, RankOne, Repeated
from tele_jax.network import sending as send
from tele_jax.network.clocks import NEVER, Clock, after, midnight, since
from tele_jax.network.collective import all_reduce_seconds
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


@struct.dataclass
class Timed:
    """An algorithm with simulated clocks, which change no iterate.

    ``Info.seconds`` is how much later the last slot is done with this round than with
    the one before, ``Info.bytes`` what was sent; ``metrics.elapsed`` adds up.

    Args:
      algorithm: ``DSGD``, ``Teleportation``, or anything with a ``traffic``.
      network: what sending and computing take.

    >>> import tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=4)
    >>> lan = tele.Network(tele.network.same(latency=0.25), tele.network.constant(1.0))
    >>> run = tele.simulate(Timed(tele.DSGD(tele.graphs.ring(8), 0.5), lan), task,
    ...                     jnp.ones(4), jax.random.key(1), num_rounds=2)
    >>> run.info.seconds.tolist()
    [1.25, 1.25]
    """

    algorithm: Algorithm
    network: Network

    @property
    def topology(self) -> Any:
        """The algorithm's."""
        return getattr(self.algorithm, "topology", None)

    @property
    def learning_rate(self) -> Any:
        """The algorithm's."""
        return getattr(self.algorithm, "learning_rate", 0.0)

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
        traffic = self.algorithm.traffic(key, state.inner, inner, t)
        num_bytes = tree.num_bytes(inner.params) // tree.num_slots(inner.params)
        network, nodes, now = self.network, traffic.nodes, state.now
        _check_overlap(self, traffic)
        free, start, fetched = _fetch(network, traffic, state.free, now, num_bytes)
        # Not one of the two keys that an algorithm splits its own into.
        seconds = network.compute.of(jax.random.fold_in(key, 2), nodes)
        computed = start + seconds
        clocks = state.computed
        if clocks is not None:
            computed = jnp.maximum(start, since(_at(clocks, nodes), now) + seconds)
            clocks = _set(clocks, nodes, after(now, computed))
        done, gossiped = _gossip(network, traffic.gossip, nodes, computed, num_bytes)
        if traffic.patience is not None:
            done = jnp.maximum(done, start + traffic.patience)
        done = jnp.where(nodes < 0, NEVER, done)
        latest = jnp.maximum(done.max(), 0.0)
        if network.barrier:
            done = jnp.full_like(done, latest)
        free = _set(free, nodes, after(now, done))
        times = TimedState(inner, free, clocks, after(now, latest))
        return times, info._replace(seconds=latest, bytes=fetched + gossiped)

    def traffic(
        self, key: Key, before: TimedState, after: TimedState, t: Array
    ) -> Traffic:
        """The algorithm's."""
        return self.algorithm.traffic(key, before.inner, after.inner, t)


def _fetch(
    network: Network, traffic: Traffic, free: Clock, now: Clock, num_bytes: int
) -> tuple[Clock, Array, Array]:
    """Clocks after sending, when each node may begin its step, and the bytes sent."""
    source, nodes = traffic.source, traffic.nodes
    if source is None:
        return free, since(_at(free, nodes), now), jnp.float32(0.0)
    ready = jnp.where(source < 0, NEVER, since(_at(free, source), now))
    mixing, sent = traffic.pull, jnp.float32(0.0)
    if isinstance(mixing, Repeated):
        first = jax.tree.map(lambda leaf: leaf[:-1], mixing.rounds)
        ready, sent = _gossip(network, Repeated(first), source, ready, num_bytes)
        mixing = jax.tree.map(lambda leaf: leaf[-1], mixing.rounds)
    if isinstance(mixing, RankOne):
        ready, sent = _gossip(network, mixing, source, ready, num_bytes)
        mixing = None
    if mixing is None:
        messages = send.fetches(source, nodes, network.links, num_bytes)
    else:
        messages = send.messages(mixing, source, nodes, network.links, num_bytes)
    start, all_sent = _starts(network, messages, ready)
    if _blocks(network):
        free = _set(free, source, after(now, all_sent))
    own = since(_at(free, nodes), now)
    listens = own if network.duplex == "half" else None
    arrived = send.arrive(messages, ready, start, listens)
    sent += num_bytes * messages.travels.sum(dtype=jnp.float32)
    return free, jnp.maximum(arrived, own), sent


def _gossip(
    network: Network,
    mixing: AnyMixing | None,
    nodes: Array,
    ready: Array,
    num_bytes: int,
) -> tuple[Array, Array]:
    """When each slot is done, if it was ready then, and the bytes sent."""
    if mixing is None:
        return ready, jnp.float32(0.0)
    if isinstance(mixing, Repeated):

        def one_round(ready: Array, one: Any) -> tuple[Array, Array]:
            return _gossip(network, one, nodes, ready, num_bytes)

        done, sent = jax.lax.scan(one_round, ready, mixing.rounds)
        return done, sent.sum()
    if isinstance(mixing, RankOne):
        takes_part = (mixing.receive != 0) & (nodes >= 0)
        took = all_reduce_seconds(
            network.all_reduce, nodes, takes_part, network.links, num_bytes
        )
        last = jnp.where(takes_part, ready, NEVER).max()
        others = jnp.maximum(takes_part.sum(dtype=jnp.float32) - 1, 0)
        return jnp.where(takes_part, last + took, ready), 2 * num_bytes * others
    messages = send.messages(mixing, nodes, nodes, network.links, num_bytes)
    start, all_sent = _starts(network, messages, ready)
    listens = all_sent if network.duplex == "half" else None
    done = jnp.maximum(ready, send.arrive(messages, ready, start, listens))
    if _blocks(network):
        done = jnp.maximum(done, all_sent)
    return done, num_bytes * messages.travels.sum(dtype=jnp.float32)


def _starts(
    network: Network, messages: send.Sending, ready: Array
) -> tuple[Array, Array]:
    if network.sends == "serial":
        return send.start_in_turn(messages, ready)
    return send.start_at_once(messages, ready)


def _blocks(network: Network) -> bool:
    """Whether a node is busy until it has sent everything."""
    return network.sends == "serial" or network.duplex == "half"


def _at(clocks: Clock, nodes: Array) -> Clock:
    return Clock(clocks.high[nodes], clocks.low[nodes])


def _set(clocks: Clock, nodes: Array, moments: Clock) -> Clock:
    """−1 is no node."""
    nodes = jnp.where(nodes < 0, clocks.high.shape[0], nodes)
    return Clock(
        clocks.high.at[nodes].set(moments.high, mode="drop"),
        clocks.low.at[nodes].set(moments.low, mode="drop"),
    )


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
