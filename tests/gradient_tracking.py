"""Gradient tracking, to show what a method with more state and two gossips needs.

P. Di Lorenzo, G. Scutari, *NEXT: In-Network Nonconvex Optimization*, IEEE TSIPN 2016,
arXiv 1602.00591; A. Nedić, A. Olshevsky, W. Shi, SIAM J. Optim. 2017,
arXiv 1607.03218.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from tele_jax import tree
from tele_jax.algorithms.base import Info
from tele_jax.gossip import mix
from tele_jax.mixing import count_messages
from tele_jax.tasks.base import value_and_grad
from tele_jax.topology import Topology


class GradientTrackingState(NamedTuple):
    params: jax.Array
    tracker: jax.Array
    gradient: jax.Array


@struct.dataclass
class GradientTracking:
    """y ← W y + ∇F(xᵗ) − ∇F(xᵗ⁻¹), then x ← W (x − η y)."""

    topology: Topology
    learning_rate: jax.typing.ArrayLike

    def init(self, params, task):
        slots = tree.stack(params, task.num_nodes)
        zeros = jax.tree.map(jnp.zeros_like, slots)
        return GradientTrackingState(slots, zeros, zeros)

    def step(self, key, state, task, t):
        def gradient(params, node):
            batch = task.sample(jax.random.fold_in(key, node), node, t)
            return value_and_grad(task, params, batch)

        key, _ = jax.random.split(key)
        mixing = self.topology.at(t)
        losses, now = jax.vmap(gradient)(state.params, jnp.arange(task.num_nodes))
        tracker = jax.tree.map(
            lambda y, g, before: y + g - before,
            mix(mixing, state.tracker),
            now,
            state.gradient,
        )
        stepped = jax.tree.map(
            lambda x, y: x - self.learning_rate * y, state.params, tracker
        )
        info = Info(losses.mean(), 2 * count_messages(mixing))
        return GradientTrackingState(mix(mixing, stepped), tracker, now), info
