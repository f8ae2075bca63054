"""TELEPORTATION where holders die with their tokens."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from tele_jax._types import Array, Key, Params, Scalar, Slots
from tele_jax.algorithms import _lossy as lossy
from tele_jax.algorithms import base
from tele_jax.algorithms.teleportation import Teleportation, TeleportationState
from tele_jax.devices import stack
from tele_jax.draw import draw_living
from tele_jax.mixing import Mixing, add_counts, count_messages
from tele_jax.network import failures as fail
from tele_jax.network.failures import Failures
from tele_jax.tasks.base import Task
from tele_jax.topology import Topology, routes_of

LostToken = Literal["respawn", "stale", "shrink"]


class Copies(NamedTuple):
    """What those who handed the tokens on in the last round still have of them."""

    params: Slots
    memory: Any
    nodes: Array
    """int32[k]; −1 for nobody."""


class UnreliableState(NamedTuple):
    """The tokens, who holds them, and which are there."""

    params: Slots
    """Leaves [k, ...]."""
    memory: Any
    nodes: Array
    """int32[k]: who holds token a; −1 before round 0 and for one that is gone."""
    draws: Array | None
    gone: Array
    """bool[k]: tokens that are lost for good."""
    stepped: Array
    """bool[k]: tokens that took part in the last round."""
    copies: Copies | None
    """Only for ``"stale"``."""


class Tokens(NamedTuple):
    """The tokens at the beginning of a round, after the lost ones are replaced."""

    params: Slots
    memory: Any
    holders: Array
    """int32[k]: who has what is left of each; −1 for nobody."""
    donor: Array
    """int32[k]: the slot that each is a copy of, mostly itself."""
    lost: Array
    """bool[k]: whose holder has died."""
    gone: Array
    """bool[k]: which are not there any more."""

    def fetched_by(self, nodes: Array) -> Array:
        """int32[]: how many move to these nodes, −1 for nobody."""
        moves = (nodes >= 0) & (self.source >= 0) & (self.source != nodes)
        return moves.sum(dtype=jnp.int32)

    @property
    def source(self) -> Array:
        """int32[k]: where each is fetched from."""
        return self.holders[self.donor]


@struct.dataclass
class UnreliableTeleportation:
    """``Teleportation`` that goes on when nodes die, links drop or steps take too long.

    Nodes that are down are not drawn. A token whose holder is down at the beginning of
    the next round is lost with all that it has learnt. With nothing that fails, every
    number is that of ``Teleportation`` with ``fetch="two_phase"``. ``Info.active``
    counts the tokens that were stepped, ``Info.lost`` those that were lost, and
    ``Info.drift`` is how far replacing them and lossy gossip moved the mean model.

    Args:
      topology: of k slots, with one round of gossip per step.
      learning_rate: η, a scalar, or a schedule over rounds [num_rounds].
      failures: what goes wrong.
      direction: a recipe for an optax transformation of the gradient.
      lost_token: what takes the place of a lost token. ``"respawn"``: a copy of the
        next slot, in cyclic order, whose holder lives; on a ring a neighbour.
        ``"stale"``: what the node that it came from still has of it, one round old, and
        a copy as above where that node is down too. ``"shrink"``: nothing, the others
        go on as k − 1; its slot shows the model of the next one from then on, so that
        what is measured of all slots is of live models, that one counted again. When
        all holders die at once, all is lost, and nothing more happens.

    >>> import tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=99, dim=4)
    >>> some = Failures(tele.network.outages(jax.random.key(2), 0.2, duration=3))
    >>> run = tele.simulate(UnreliableTeleportation(tele.graphs.ring(8), 0.5, some),
    ...                     task, jnp.ones(4), jax.random.key(1), num_rounds=50)
    >>> int(run.info.lost.sum()) > 0, bool((run.info.active == 8).all())
    (True, True)
    """

    topology: Topology
    learning_rate: Scalar
    failures: Failures
    direction: base.Direction = base.PLAIN
    lost_token: LostToken = struct.field(pytree_node=False, default="respawn")

    def init(self, params: Params, task: Task) -> UnreliableState:
        """All tokens start from the same model."""
        fail.check_sizes("UnreliableTeleportation", self.failures, task.num_nodes)
        if self.lost_token not in ("respawn", "stale", "shrink"):
            raise ValueError(
                f"UnreliableTeleportation: got lost_token={self.lost_token!r}, "
                'expected "respawn", "stale" or "shrink".'
            )
        whole = Teleportation(self.topology, self.learning_rate, self.direction)
        start: TeleportationState = whole.init(params, task)
        nowhere = stack(jnp.bool(False), self.topology.num_slots)
        copies = None
        if self.lost_token == "stale":
            copies = Copies(start.params, start.memory, start.nodes)
        return UnreliableState(*start, nowhere, nowhere, copies)

    def step(
        self, key: Key, state: UnreliableState, task: Task, t: Array
    ) -> tuple[UnreliableState, base.Info]:
        """Replace what is lost; fetch, local step and gossip."""
        data_key, _ = jax.random.split(key)
        tokens = self._replace_lost(state, t)
        nodes = self._draw(key, task.num_nodes, tokens.gone, t)
        active = nodes >= 0
        at = jnp.maximum(nodes, 0)
        after = base.local_step(
            data_key,
            task,
            tokens.params,
            tokens.memory,
            at,
            None if state.draws is None else state.draws[at],
            base.at_round(self.learning_rate, t),
            self.direction,
        )
        stepped = lossy.where(active, after.params, tokens.params)
        memory = lossy.where(active, after.memory, tokens.memory)
        round_ = lossy.lose(self.topology.at(t), key, self.failures, nodes, active)
        routes = routes_of(self.topology, t)
        params = _shown(lossy.gossip(round_, stepped, routes), tokens.gone)
        holders = jnp.where(active, nodes, jnp.where(tokens.gone, -1, tokens.source))
        copies, draws = state.copies, state.draws
        if draws is not None:
            draws = draws.at[at].add(active.astype(jnp.int32))
        if copies is not None:
            copies = Copies(tokens.params, tokens.memory, tokens.source)
        info = base.Info(
            lossy.mean_loss(after.losses, active),
            add_counts(tokens.fetched_by(nodes), count_messages(round_.kept)),
            active=active.sum(dtype=jnp.int32),
            lost=tokens.lost.sum(dtype=jnp.int32),
            ended=tokens.gone.all(),
            drift=_drift(state, tokens, stepped, params),
        )
        kept = (params, memory, holders, draws, tokens.gone, active, copies)
        return UnreliableState(*kept), info

    def traffic(
        self, key: Key, before: UnreliableState, after: UnreliableState, t: Array
    ) -> base.Traffic:
        """Fetch from the living, then gossip as far as it takes place."""
        tokens = self._replace_lost(before, t)
        nodes = jnp.where(after.stepped, after.nodes, -1)
        round_ = lossy.lose(
            self.topology.at(t), key, self.failures, nodes, after.stepped
        )
        fetch = Mixing(tokens.donor[None], jnp.ones((1, nodes.shape[0])))
        return base.Traffic(nodes, round_.kept, tokens.holders, fetch, round_.patience)

    def _replace_lost(self, state: UnreliableState, t: Array) -> Tokens:
        held = (state.nodes >= 0) & ~state.gone
        lives = self.failures.alive(state.nodes, t)
        lost = held & ~lives
        slots = jnp.arange(lost.shape[0], dtype=jnp.int32)
        holders, own = jnp.where(lost, -1, state.nodes), (state.params, state.memory)
        if self.lost_token == "shrink":
            return Tokens(*own, holders, slots, lost, state.gone | lost)
        # In round 0 nobody holds anything, and nothing can be lost.
        there = ~state.gone & ~lost
        donor = jnp.where(lost, _next_true(there), slots)
        gone = state.gone | (lost & ~there.any())
        if state.copies is not None:
            *old, nodes = state.copies
            usable = lost & self.failures.alive(nodes, t)
            own = lossy.where(usable, tuple(old), own)
            holders = jnp.where(usable, nodes, holders)
            donor, gone = jnp.where(usable, slots, donor), gone & ~usable
        params, memory = jax.tree.map(lambda leaf: leaf[donor], own)
        return Tokens(params, memory, holders, donor, lost, gone)

    def _draw(self, key: Key, num_nodes: int, gone: Array, t: Array) -> Array:
        """int32[k]: a living node for every token that is there; −1 for nobody."""
        _, network_key = jax.random.split(key)

        def alive(nodes: Array) -> Array:
            return self.failures.alive(nodes, t)

        drawn = draw_living(network_key, num_nodes, gone.shape[0], alive)
        # Were the draw short, none should be spent on a token that is gone.
        turn = jnp.cumsum(~gone) - 1
        return jnp.where(gone, -1, drawn[turn])


def _next_true(mask: Array) -> Array:
    """For every place the first true one after it, in cyclic order; itself if none."""
    size = mask.shape[0]
    places = jnp.arange(size, dtype=jnp.int32)
    twice = jnp.where(jnp.tile(mask, 2), jnp.arange(2 * size), 2 * size)
    following = jax.lax.cummin(twice.astype(jnp.int32), reverse=True)[places + 1]
    return jnp.where(following < 2 * size, following % size, places)


def _shown(slots: Slots, gone: Array) -> Slots:
    """A token that is gone shows the next one that is there."""
    donor = jnp.where(gone, _next_true(~gone), jnp.arange(gone.shape[0]))
    return jax.tree.map(lambda leaf: leaf[donor], slots)


def _drift(
    state: UnreliableState, tokens: Tokens, stepped: Slots, gossiped: Slots
) -> Array:
    """‖Δx̄‖ of all but the local steps."""
    before, after = ~state.gone, ~tokens.gone
    jump = jax.tree.map(
        lambda new, old, mixed, unmixed: (new - old) + (mixed - unmixed),
        lossy.mean(tokens.params, after),
        lossy.mean(state.params, before),
        lossy.mean(gossiped, after),
        lossy.mean(stepped, after),
    )
    return jnp.where(after.any(), lossy.norm(jump), 0.0)
