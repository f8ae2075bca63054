"""Decentralized SGD: every node steps on its own data, then gossips.

X. Lian, C. Zhang, H. Zhang, C.-J. Hsieh, W. Zhang, J. Liu, *Can Decentralized
Algorithms Outperform Centralized Algorithms?*, NeurIPS 2017, arXiv 1705.09056, in the
adapt-then-combine order of A. Koloskova et al., ICML 2020, arXiv 2003.10422.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from tele_jax._types import Array, Key, Params, Scalar, Slots
from tele_jax.algorithms import base
from tele_jax.devices import stack
from tele_jax.gossip import mix
from tele_jax.mixing import count_messages
from tele_jax.tasks.base import Task, counts_draws
from tele_jax.topology import Topology, routes_of


class DSGDState(NamedTuple):
    """The models of all nodes and the memory of their directions, leaves [n, ...]."""

    params: Slots
    memory: Any
    draws: Array | None = None
    """int32[n]: batches every node drew; only where some are down for a while, and for
    tasks that need it."""


@struct.dataclass
class DSGD:
    """Decentralized SGD, x_i ← Σ_j W_ij (x_j − η ∇F_j(x_j; ξ_j)).

    On ``graphs.complete(n)`` it is all-reduce SGD.

    Args:
      topology: one slot per node.
      learning_rate: η, a scalar, or a schedule over rounds [num_rounds].
      direction: a recipe for an optax transformation of the gradient (momentum,
        Adam, …); each node keeps its memory and gossips the model only.
      local_steps: τ, how many steps a node takes in a round, before it gossips.
      slots_at_once: how many slots step at the same time, to save memory; None: all,
        on a CPU as many as stay in its cache.

    >>> import tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=4)
    >>> run = tele.simulate(tele.DSGD(tele.graphs.ring(8), 0.5), task, jnp.ones(4),
    ...                     jax.random.key(1), num_rounds=10)
    >>> run.state.params.shape, int(run.info.messages[0])
    ((8, 4), 16)
    """

    topology: Topology
    learning_rate: Scalar
    direction: base.Direction = base.PLAIN
    local_steps: int = struct.field(pytree_node=False, default=1)
    slots_at_once: int | None = struct.field(pytree_node=False, default=None)

    def init(self, params: Params, task: Task) -> DSGDState:
        """Every node starts from the same model."""
        if self.topology.num_slots != task.num_nodes:
            raise ValueError(
                f"DSGD: got a topology of {self.topology.num_slots} slots for a task "
                f"of {task.num_nodes} nodes, expected one slot per node; build the "
                f"topology with {task.num_nodes} slots."
            )
        base.check_steps("DSGD", self)
        slots = stack(params, task.num_nodes)
        return DSGDState(slots, base.init_memory("DSGD", self.direction, slots))

    def step(
        self, key: Key, state: DSGDState, task: Task, t: Array
    ) -> tuple[DSGDState, base.Info]:
        """Local step, then gossip."""
        data_key, _ = jax.random.split(key)
        nodes = jnp.arange(task.num_nodes, dtype=jnp.int32)
        # Every node draws τ batches a round.
        drawn = self.local_steps * t
        counts = jnp.full_like(nodes, drawn) if counts_draws(task) else None
        after = base.local_step(
            data_key,
            task,
            state.params,
            state.memory,
            nodes,
            counts,
            base.at_round(self.learning_rate, t),
            self.direction,
            self.local_steps,
            self.slots_at_once,
        )
        mixing = self.topology.at(t)
        info = base.Info(
            after.losses.mean(),
            count_messages(mixing),
            gradients=base.count_gradients(task.num_nodes, self.local_steps),
        )
        params = mix(mixing, after.params, routes_of(self.topology, t))
        return DSGDState(params, after.memory), info

    def traffic(
        self, key: Key, before: DSGDState, after: DSGDState, t: Array
    ) -> base.Traffic:
        """Slot i is node i, always."""
        del key, before, after
        nodes = jnp.arange(self.topology.num_slots, dtype=jnp.int32)
        return base.Traffic(nodes, self.topology.at(t))
