"""What a simulation trains on: data owned by nodes, and the loss of one model."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from tele_jax import tree
from tele_jax._types import Array, Batch, Key, Metrics, Params


@runtime_checkable
class Task(Protocol):
    """Data of n nodes and the loss of **one** model on **one** batch.

    f(x) = (1/n) Σ_i f_i(x) with f_i(x) = E_ξ F_i(x; ξ): every node counts the same,
    however many examples it owns.

    A task is a frozen pytree dataclass (``flax.struct.dataclass``): its data are leaves
    and so arguments of the compiled program, never constants inside it. The callers
    do all the batching with ``vmap``.

    A task may also offer, and only what is offered is used:

    * ``objective(params) -> scalar``: the exact f;
    * ``gradient(params) -> params``: the exact ∇f;
    * ``evaluate(params) -> dict``: measurements of one model on data held out, such as
      ``{"accuracy": ...}``;
    * ``value_and_grad(params, batch) -> (scalar, params)``: the loss and its gradient,
      where there is a better way than ``jax.value_and_grad(task.loss)``. A task that
      wraps another and has its own ``loss`` needs its own of this, too.

    Set the class attribute ``counts_draws = True`` when ``sample`` needs ``count``:
    TELEPORTATION then carries one integer per node through the run. Otherwise
    ``count`` is None, and nothing in the program grows with n but the data.
    """

    @property
    def num_nodes(self) -> int:
        """The number n of nodes."""

    def sample(self, key: Key, node: Array, count: Array | None) -> Batch:
        """Draw a batch of one node's data.

        Args:
          key: this node's key for this round.
          node: the node's number, int32[], 0 ≤ node < n.
          count: how many batches the node drew before, int32[]; None unless the task
            sets ``counts_draws``.
        """

    def loss(self, params: Params, batch: Batch) -> Array:
        """F_i(x; ξ), the loss of one model on one batch: float32[]."""


def counts_draws(task: Task) -> bool:
    """Whether the task's ``sample`` needs to know how often a node drew before."""
    return getattr(task, "counts_draws", False)


def batch_bytes(task: Task) -> int:
    """What a batch weighs, in bytes; nothing is drawn.

    >>> from tele_jax.tasks.quadratic import quadratic
    >>> batch_bytes(quadratic(jnp.ones(3), jnp.ones((3, 2)), noise=1.0))  # a, b and ξ
    20
    """
    count = jnp.int32(0) if counts_draws(task) else None

    def arrays() -> list[Array]:
        batch = task.sample(jax.random.key(0), jnp.int32(0), count)
        return [leaf for leaf in jax.tree.leaves(batch) if hasattr(leaf, "dtype")]

    return tree.num_bytes(jax.eval_shape(arrays))


def evaluate(task: Task, params: Params) -> Metrics:
    """What the task measures of one model on data held out; empty if nothing."""
    offered = getattr(task, "evaluate", None)
    return {} if offered is None else offered(params)


def value_and_grad(task: Task, params: Params, batch: Batch) -> tuple[Array, Params]:
    """F_i(x; ξ) and its gradient in x, in the task's own way if it has one."""
    offered = getattr(task, "value_and_grad", jax.value_and_grad(task.loss))
    return offered(params, batch)
