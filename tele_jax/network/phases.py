"""The phases of a round, each from when it can begin to when it is done.

Times are float32 seconds since the end of the round before.
"""

from typing import Any

import jax
import jax.numpy as jnp

from tele_jax._types import Array
from tele_jax.algorithms.base import Traffic
from tele_jax.mixing import AnyMixing, RankOne, Repeated
from tele_jax.network import sending as send
from tele_jax.network.clocks import NEVER, Clock, after, since
from tele_jax.network.collective import all_reduce_seconds
from tele_jax.network.network import Network


def fetch(
    network: Network, traffic: Traffic, free: Clock, now: Clock, num_bytes: Array
) -> tuple[Clock, Array, Array]:
    """Clocks after sending, when each node may begin its step, and the bytes sent."""
    source, nodes = traffic.source, traffic.nodes
    if source is None:
        return free, since(at(free, nodes), now), jnp.float32(0.0)
    ready = jnp.where(source < 0, NEVER, since(at(free, source), now))
    mixing, sent = traffic.pull, jnp.float32(0.0)
    if isinstance(mixing, Repeated):
        first = jax.tree.map(lambda leaf: leaf[:-1], mixing.rounds)
        ready, sent = gossip(network, Repeated(first), source, ready, num_bytes)
        mixing = jax.tree.map(lambda leaf: leaf[-1], mixing.rounds)
    if isinstance(mixing, RankOne):
        ready, sent = gossip(network, mixing, source, ready, num_bytes)
        mixing = None
    if mixing is None:
        messages = send.fetches(source, nodes, network.links, num_bytes)
    else:
        messages = send.messages(mixing, source, nodes, network.links, num_bytes)
    start, all_sent = _starts(network, messages, ready)
    if _blocks(network):
        free = put(free, source, after(now, all_sent))
    own = since(at(free, nodes), now)
    listens = own if network.duplex == "half" else None
    arrived = send.arrive(messages, ready, start, listens)
    sent += num_bytes * messages.travels.sum(dtype=jnp.float32)
    return free, jnp.maximum(arrived, own), sent


def gossip(
    network: Network,
    mixing: AnyMixing | None,
    nodes: Array,
    ready: Array,
    num_bytes: Array,
) -> tuple[Array, Array]:
    """When each slot is done, if it was ready then, and the bytes sent."""
    if mixing is None:
        return ready, jnp.float32(0.0)
    if isinstance(mixing, Repeated):

        def one_round(ready: Array, one: Any) -> tuple[Array, Array]:
            return gossip(network, one, nodes, ready, num_bytes)

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


def at(clocks: Clock, nodes: Array) -> Clock:
    """Those of some nodes."""
    return Clock(clocks.high[nodes], clocks.low[nodes])


def put(clocks: Clock, nodes: Array, moments: Clock) -> Clock:
    """The clocks with those of some nodes set; −1 is no node."""
    nodes = jnp.where(nodes < 0, clocks.high.shape[0], nodes)
    return Clock(
        clocks.high.at[nodes].set(moments.high, mode="drop"),
        clocks.low.at[nodes].set(moments.low, mode="drop"),
    )
