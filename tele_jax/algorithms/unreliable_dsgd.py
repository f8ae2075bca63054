"""Decentralized SGD where nodes crash, links drop and stragglers are not awaited."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from tele_jax._types import Array, Key, Params, Scalar
from tele_jax.algorithms import _lossy as lossy
from tele_jax.algorithms import base
from tele_jax.algorithms.dsgd import DSGD, DSGDState
from tele_jax.mixing import count_messages
from tele_jax.network import failures as fail
from tele_jax.network.failures import Failures
from tele_jax.tasks.base import Task, counts_draws
from tele_jax.topology import Topology, routes_of


@struct.dataclass
class UnreliableDSGD:
    """``DSGD`` among those that are up, x_i ← Σ_j W'_ij (x_j − η ∇F_j(x_j; ξ_j)).

    W' is W without what is lost: a node gives the weight of a message that it misses to
    its own model. The model of a node that is down stays as it is, and goes on from
    there when it is back. With nothing that fails, every number is that of ``DSGD``.
    ``Info.active`` counts the nodes that are up, and ``Info.drift`` is how far gossip
    moved their mean: 0, up to rounding, where W is symmetric and links are cut both
    ways. Metrics of all slots include the models of nodes that are down.

    Args:
      topology: one slot per node, with one round of gossip per step.
      learning_rate: η, a scalar, or a schedule over rounds [num_rounds].
      failures: what goes wrong.
      direction: a recipe for an optax transformation of the gradient.

    >>> import tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=4)
    >>> half = Failures(tele.network.outages(jax.random.key(2), 0.5, duration=3))
    >>> run = tele.simulate(UnreliableDSGD(tele.graphs.ring(8), 0.5, half), task,
    ...                     jnp.ones(4), jax.random.key(1), num_rounds=10)
    >>> bool((run.info.active < 8).any())
    True
    """

    topology: Topology
    learning_rate: Scalar
    failures: Failures
    direction: base.Direction = base.PLAIN

    def init(self, params: Params, task: Task) -> DSGDState:
        """Every node starts from the same model."""
        fail.check_sizes("UnreliableDSGD", self.failures, task.num_nodes)
        whole = DSGD(self.topology, self.learning_rate, self.direction)
        state = whole.init(params, task)
        if not counts_draws(task):
            return state
        return state._replace(draws=jnp.zeros(task.num_nodes, jnp.int32))

    def step(
        self, key: Key, state: DSGDState, task: Task, t: Array
    ) -> tuple[DSGDState, base.Info]:
        """Local steps and gossip of those that are up."""
        data_key, _ = jax.random.split(key)
        nodes, alive = self._alive(t)
        after = base.local_step(
            data_key,
            task,
            state.params,
            state.memory,
            nodes,
            state.draws,
            base.at_round(self.learning_rate, t),
            self.direction,
        )
        stepped = lossy.where(alive, after.params, state.params)
        memory: Any = lossy.where(alive, after.memory, state.memory)
        round_ = lossy.lose(self.topology.at(t), key, self.failures, nodes, alive)
        params = lossy.gossip(round_, stepped, routes_of(self.topology, t))
        info = base.Info(
            lossy.mean_loss(after.losses, alive),
            count_messages(round_.kept),
            active=alive.sum(dtype=jnp.int32),
            lost=jnp.int32(0),
            ended=~alive.any() & self._for_good(),
            drift=lossy.norm(
                jax.tree.map(
                    jnp.subtract,
                    lossy.mean(params, alive),
                    lossy.mean(stepped, alive),
                )
            ),
        )
        draws = None if state.draws is None else state.draws + alive
        return DSGDState(params, memory, draws), info

    def traffic(
        self, key: Key, before: DSGDState, after: DSGDState, t: Array
    ) -> base.Traffic:
        """Slot i is node i; nobody where it is down."""
        del before, after
        nodes, alive = self._alive(t)
        round_ = lossy.lose(self.topology.at(t), key, self.failures, nodes, alive)
        return base.Traffic(
            jnp.where(alive, nodes, -1),
            round_.kept,
            patience=round_.patience,
            resting=jnp.where(alive, -1, nodes),
        )

    def _for_good(self) -> bool:
        return self.failures.crashes is not None and self.failures.crashes.for_good

    def _alive(self, t: Array) -> tuple[Array, Array]:
        nodes = jnp.arange(self.topology.num_slots, dtype=jnp.int32)
        return nodes, self.failures.alive(nodes, t)
