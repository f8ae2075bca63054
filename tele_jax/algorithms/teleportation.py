"""TELEPORTATION: only k of the n nodes are active in a round.

Y. Takezawa, S. U. Stich, *Scalable Decentralized Learning with Teleportation*,
ICLR 2025, arXiv 2501.15259.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from tele_jax import tree
from tele_jax._types import Array, Key, Params, Scalar, Slots
from tele_jax.algorithms import base
from tele_jax.devices import stack
from tele_jax.draw import draw_active
from tele_jax.gossip import mix
from tele_jax.mixing import add_counts, count_messages
from tele_jax.tasks.base import Task, counts_draws
from tele_jax.topology import Topology, routes_of


class TeleportationState(NamedTuple):
    """The k tokens and who holds them."""

    params: Slots
    """Leaves [k, ...]."""
    memory: Any
    """The direction's memory: leaves [k, ...] if it travels with the token, [n, ...] if
    it stays at the nodes."""
    nodes: Array
    """int32[k]: the node that held token a in the last round; −1 before round 0."""
    draws: Array | None
    """int32[n]: batches every node drew so far; None unless the task needs it."""


@struct.dataclass
class Teleportation:
    """TELEPORTATION, x_a ← Σ_b W_ab (x_b − η ∇F_{node(b)}(x_b; ξ_b)).

    Every round draws an ordered k-tuple of distinct nodes; the a-th drawn fetches
    token a from the node that held it, takes a step on its own data and gossips on
    the topology of the k tokens. No array moves for the fetch: the token stays in
    its slot, and the gather over the active nodes goes to their data. Memory is k
    models, whatever n.

    k = 1 is random-walk SGD; k = n on ``graphs.complete`` is all-reduce SGD; k = n on
    a ring is a ring relabelled at random each round, not ``DSGD``.

    Args:
      topology: a topology of k slots, k ≤ n.
      learning_rate: η, a scalar, or a schedule over rounds [num_rounds].
      direction: a recipe for an optax transformation of the gradient (momentum,
        Adam, …).
      fetch: which messages ``Info.messages`` counts; the iterates are the same.
        ``"two_phase"``: fetch, then gossip, as Algorithm 1 is written. ``"merged"``:
        the next holder of token a pulls Σ_b W_ab x_b straight from the previous
        holders, one phase. Round 0 fetches nothing, so merged sends nothing in it, and
        nobody pulls the last round's gossip, which leaves the mean model as it is.
        A node never sends to itself.
      local_steps: τ, how many steps an active node takes before it gossips.
      slots_at_once: how many slots step at the same time, to save memory; None: all,
        on a CPU as many as stay in its cache.
      memory: where the direction's memory is. ``"token"``: it travels with the token,
        so TELEPORTATION with momentum is momentum SGD of the tokens. ``"node"``: it
        stays where it was made, and a node goes on with its own when it is drawn again,
        however long ago that was; n memories are then kept.

    >>> import tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=99, dim=4)
    >>> run = tele.simulate(tele.Teleportation(tele.graphs.ring(8), 0.5), task,
    ...                     jnp.ones(4), jax.random.key(1), num_rounds=10)
    >>> run.state.params.shape, int(run.info.messages[0])
    ((8, 4), 0)
    """

    topology: Topology
    learning_rate: Scalar
    direction: base.Direction = base.PLAIN
    fetch: Literal["merged", "two_phase"] = struct.field(
        pytree_node=False, default="merged"
    )
    local_steps: int = struct.field(pytree_node=False, default=1)
    slots_at_once: int | None = struct.field(pytree_node=False, default=None)
    memory: Literal["token", "node"] = struct.field(pytree_node=False, default="token")

    def init(self, params: Params, task: Task) -> TeleportationState:
        """All tokens start from the same model."""
        num_slots, num_nodes = self.topology.num_slots, task.num_nodes
        if num_slots > num_nodes:
            raise ValueError(
                f"Teleportation: {num_slots} slots exceed the task's "
                f"{num_nodes} nodes; choose k <= {num_nodes}."
            )
        self._check_options()
        slots = stack(params, num_slots)
        memory = base.init_memory("Teleportation", self.direction, slots)
        if self.memory == "node":  # all slots begin with the same
            memory = tree.stack(jax.tree.map(lambda leaf: leaf[0], memory), num_nodes)
        draws = None
        if counts_draws(task):
            draws = jnp.zeros(num_nodes, jnp.int32)
        nobody = stack(jnp.int32(-1), num_slots)
        return TeleportationState(slots, memory, nobody, draws)

    def step(
        self, key: Key, state: TeleportationState, task: Task, t: Array
    ) -> tuple[TeleportationState, base.Info]:
        """Fetch, local step, gossip."""
        data_key, network_key = jax.random.split(key)
        nodes = draw_active(network_key, task.num_nodes, self.topology.num_slots)
        counts = None if state.draws is None else state.draws[nodes]
        after = base.local_step(
            data_key,
            task,
            state.params,
            self._fetched(state.memory, nodes),
            nodes,
            counts,
            base.at_round(self.learning_rate, t),
            self.direction,
            self.local_steps,
            self.slots_at_once,
        )
        memory = self._kept(state.memory, nodes, after.memory)
        draws = state.draws
        if draws is not None:
            draws = draws.at[nodes].add(self.local_steps)
        mixing, routes = self.topology.at(t), routes_of(self.topology, t)
        params = mix(mixing, after.params, routes)
        info = base.Info(
            after.losses.mean(),
            self._messages(state.nodes, nodes, t),
            gradients=base.count_gradients(self.topology.num_slots, self.local_steps),
        )
        return TeleportationState(params, memory, nodes, draws), info

    def traffic(
        self,
        key: Key,
        before: TeleportationState,
        after: TeleportationState,
        t: Array,
    ) -> base.Traffic:
        """Fetch from the nodes of the round before, and gossip before or after it."""
        del key
        if self.fetch == "merged":
            pull = self.topology.at(t - 1)
            return base.Traffic(after.nodes, None, before.nodes, pull)
        return base.Traffic(after.nodes, self.topology.at(t), before.nodes)

    def _check_options(self) -> None:
        base.check_steps("Teleportation", self)
        for name, allowed in (
            ("fetch", ("merged", "two_phase")),
            ("memory", ("token", "node")),
        ):
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(
                    f'Teleportation: got {name}={value!r}, expected "{allowed[0]}" or '
                    f'"{allowed[1]}".'
                )

    def _fetched(self, memory: Any, nodes: Array) -> Any:
        """The memory of every slot's step, leaves [k, ...]."""
        if self.memory == "token":
            return memory
        return jax.tree.map(lambda leaf: leaf[nodes], memory)

    def _kept(self, memory: Any, nodes: Array, after: Any) -> Any:
        """The memory after these slots have stepped."""
        if self.memory == "token":
            return after
        return jax.tree.map(lambda old, new: old.at[nodes].set(new), memory, after)

    def _messages(self, previous: Array, nodes: Array, t: Array) -> Array:
        if self.fetch == "merged":
            # What the last round would have gossiped, pulled by the next holder.
            pulled = count_messages(self.topology.at(t - 1), previous, nodes)
            return jnp.where(t > 0, pulled, 0)
        fetched = jnp.where(t > 0, (previous != nodes).sum(dtype=jnp.int32), 0)
        return add_counts(fetched, count_messages(self.topology.at(t)))
