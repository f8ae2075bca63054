"""What an algorithm is, and the local step that most of them share."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from tele_jax._types import Array, Key, Params, Scalar, Slots
from tele_jax.devices import over_slots
from tele_jax.mixing import AnyMixing
from tele_jax.tasks.base import Task, batch_bytes, value_and_grad

Direction = Callable[[], optax.GradientTransformation]
"""A recipe for an optax transformation that turns a gradient into a direction.

Its numbers should be leaves, so that they can be swept without compiling again:
``jax.tree_util.Partial(optax.trace, decay=0.9)``. Options that select code, such as
``nesterov=True``, belong into a function at module level that the Partial names.
"""

PLAIN: Direction = jax.tree_util.Partial(optax.identity)
"""The gradient itself."""


class Info(NamedTuple):
    """What a round reports and may be thrown away."""

    loss: Array
    """float32[]: mean over the slots of the loss on the batch, before the step; 0 where
    failures left nobody to take one."""
    messages: Array
    """int32[]: models sent between nodes; 2³¹ − 1 if there are more."""
    seconds: Array | None = None
    """float32[]: simulated time until the last slot is done; None without a network."""
    bytes: Array | None = None
    """float32[]: sent between nodes; None without a network."""
    active: Array | None = None
    """int32[]: slots that took part; None where nothing fails."""
    lost: Array | None = None
    """int32[]: models that were lost with their holders; None where nothing fails."""
    drift: Array | None = None
    """float32[]: how far failures moved the mean model, ‖Δx̄‖; None likewise."""
    gradients: Array | None = None
    """int32[]: gradients computed; None: one by every slot that took part."""
    ended: Array | None = None
    """bool[]: all nodes are gone for good, or all models lost; None likewise."""


def reported(info: Info) -> dict[str, Array]:
    """What a round reports, by name.

    >>> sorted(reported(Info(loss=jnp.zeros(3), messages=jnp.zeros(3, jnp.int32))))
    ['loss', 'messages']
    """
    return {name: leaf for name, leaf in info._asdict().items() if leaf is not None}


class Traffic(NamedTuple):
    """Who sent what to whom in a round."""

    nodes: Array
    """int32[k]: the node that stepped slot a; −1 for nobody."""
    gossip: AnyMixing | None
    """What these nodes then averaged; None for nothing."""
    source: Array | None = None
    """int32[k]: the node that had slot a before; −1 for nobody. None: the same."""
    pull: AnyMixing | None = None
    """What was averaged on the way from there; None: every slot's own model."""
    patience: Array | None = None
    """float32[k]: seconds since it began for which a slot waited in vain."""
    resting: Array | None = None
    """int32[k]: nodes that are down, and go on when this round is over; −1: none."""


class State(Protocol):
    """What a round hands to the next: a NamedTuple with at least these leaves."""

    @property
    def params(self) -> Slots:
        """The models, leaves [k, ...]."""


class Algorithm(Protocol):
    """A decentralized method: a frozen pytree dataclass with these two functions.

    ``devices.over_slots`` in place of ``jax.vmap`` keeps blocks of slots in the cache
    of a CPU, and lets the devices of a mesh share them.
    """

    def init(self, params: Params, task: Task) -> Any:
        """The state before round 0, every slot starting from ``params``.

        Raises ``ValueError`` when the method does not fit the task.
        """

    def step(self, key: Key, state: Any, task: Task, t: Array) -> tuple[Any, Info]:
        """Round t. The key is this round's own."""


class TellsTraffic(Algorithm, Protocol):
    """An algorithm that can be ``Timed``, as it says what it sends."""

    def traffic(self, key: Key, before: Any, after: Any, t: Array) -> Traffic:
        """What round t sent, from its key and the states around it."""


class LocalStep(NamedTuple):
    """What a step on own data leaves behind, leading axis k."""

    params: Slots
    memory: Any
    losses: Array


def at_round(learning_rate: Scalar, t: Array) -> Array:
    """The step size of round t: a constant, or an entry of a schedule [num_rounds].

    NaN past the end of a schedule: no silent going on with its last step size.

    >>> float(at_round(jnp.array([0.1, 0.2]), jnp.int32(1)))
    0.20000000298023224
    """
    learning_rate = jnp.asarray(learning_rate)
    if learning_rate.ndim == 0:
        return learning_rate
    return learning_rate.at[t].get(mode="fill", fill_value=jnp.nan)


def init_memory(name: str, direction: Direction, slots: Slots) -> Any:
    """The memory of the direction (momentum, say) of every slot, leaves [k, ...].

    Raises:
      ValueError: a leaf of the direction is a bool.
    """
    numbers = jax.tree.leaves(direction)
    if any(jnp.issubdtype(jnp.result_type(leaf), jnp.bool) for leaf in numbers):
        raise ValueError(
            f"{name}: got a direction with a bool among its numbers, expected numbers "
            "only; an option that selects code belongs into a function at module "
            "level that the Partial names, such as "
            "def nesterov(decay): return optax.trace(decay, nesterov=True)."
        )
    return over_slots(_init_memory, direction, slots)


def _init_memory(direction: Direction, params: Params) -> Any:
    return direction().init(params)


def local_step(
    key: Key,
    task: Task,
    params: Slots,
    memory: Any,
    nodes: Array,
    counts: Array | None,
    learning_rate: Array,
    direction: Direction,
    local_steps: int = 1,
    slots_at_once: int | None = None,
) -> LocalStep:
    """x_a ← x_a − η · direction(∇F_{node(a)}(x_a; ξ)) for every slot a, τ times.

    Args:
      key: this round's key for data.
      task: the task.
      params: the models, leaves [k, ...].
      memory: the direction's memory, leaves [k, ...].
      nodes: int32[k], whose data each slot uses.
      counts: int32[k], how many batches each of these nodes drew before, or None.
      learning_rate: η, a scalar.
      direction: what to do with the gradient; it is applied to every slot alone.
      local_steps: τ; a node's j-th step draws with the node's key, folded with j.
      slots_at_once: how many slots step at the same time, as ``devices.over_slots``.

    Returns:
      What the last step leaves, and the mean of the losses over the steps.
    """
    shared = (key, task, learning_rate, direction)
    steps = functools.partial(_steps, local_steps)
    slots, beside = (params, memory, nodes, counts), batch_bytes(task)
    return over_slots(steps, shared, *slots, at_once=slots_at_once, bytes_beside=beside)


def check_steps(name: str, algorithm: Any) -> None:
    """Refuse less than one step a round, or less than one slot at a time."""
    for field in ("local_steps", "slots_at_once"):
        value = getattr(algorithm, field)
        if value is not None and not (isinstance(value, int) and value >= 1):
            raise ValueError(
                f"{name}: got {field}={value}, expected an integer of at least 1."
            )


def count_gradients(num_slots: int, local_steps: int) -> Array | None:
    """``Info.gradients`` of a round in which all slots take so many steps."""
    return None if local_steps == 1 else jnp.int32(num_slots * local_steps)


Shared = tuple[Key, Task, Array, Direction]  # key, task, step size, direction


def _steps(
    number: int,
    shared: Shared,
    params: Params,
    memory: Any,
    node: Array,
    count: Array | None,
) -> LocalStep:
    """All steps of one slot in a round."""
    key = jax.random.fold_in(shared[0], node)
    if number == 1:
        return _step((key, *shared[1:]), params, memory, node, count)

    def one(model: tuple[Params, Any], j: Array) -> tuple[tuple[Params, Any], Array]:
        drawn = None if count is None else count + j
        own = (jax.random.fold_in(key, j), *shared[1:])
        after = _step(own, *model, node, drawn)
        return (after.params, after.memory), after.losses

    numbers = jnp.arange(number, dtype=jnp.int32)
    (params, memory), losses = jax.lax.scan(one, (params, memory), numbers)
    return LocalStep(params, memory, losses.mean())


def _step(
    shared: Shared, params: Params, memory: Any, node: Array, count: Array | None
) -> LocalStep:
    key, task, learning_rate, direction = shared
    batch = task.sample(key, node, count)
    loss, gradient = value_and_grad(task, params, batch)
    update, memory = direction().update(gradient, memory, params)
    return LocalStep(_descend(params, update, learning_rate), memory, loss)


def _descend(params: Params, update: Params, learning_rate: Array) -> Params:
    return jax.tree.map(
        lambda leaf, along: (leaf - learning_rate * along).astype(leaf.dtype),
        params,
        update,
    )
