"""The loop over rounds, compiled: the package's only programs."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tele_jax import _checks as checks
from tele_jax import metrics
from tele_jax._routing import with_routes
from tele_jax._types import Array, Key, Metrics, Params, Slots
from tele_jax.algorithms.base import Algorithm, Info
from tele_jax.network.checks import check_network
from tele_jax.run import Run, concatenate
from tele_jax.tasks.base import Task

Observe = Callable[[Slots, Task], Metrics]


def simulate(
    algorithm: Algorithm,
    task: Task,
    params: Params,
    key: Key,
    *,
    num_rounds: int,
    eval_every: int | None = None,
    observe: Observe = metrics.standard,
    resume: Run | None = None,
) -> Run:
    """Run a decentralized algorithm for a number of rounds.

    Everything is compiled into one program, in which all numbers (step sizes, mixing
    weights, data, momentum, seeds) are arguments: another value, or an equal object
    built anew, compiles nothing, and ``jax.vmap`` over any of them is a sweep. Under
    ``jax.set_mesh(slot_mesh())`` all devices share the slots.

    Args:
      algorithm: ``DSGD``, ``Teleportation``, or anything with their two functions.
      task: the data and the loss.
      params: the model that every slot starts from. Ignored, but for its shape, when
        a run is resumed.
      key: ``jax.random.key(seed)``. Round t uses ``fold_in(key, t)`` only, so pass the
        same key to resume.
      num_rounds: how many rounds to do; with ``resume``, how many *further* ones. A
        fresh run of 0 rounds is the start, evaluated.
      eval_every: rounds between evaluations, a divisor of ``num_rounds``; the default
        evaluates at the start and at the end. The start of a fresh run is always
        evaluated.
      observe: ``(slots, task) -> dict`` of arrays, slots with leaves [k, ...]: a
        function at module level or a ``jax.tree_util.Partial``, so that it does not
        compile again.
      resume: a run to go on from. ``concatenate(run, further)`` is then bit by bit the
        run that was never interrupted.

    Returns:
      A ``Run``. A run that diverges holds NaNs; it does not raise.

    Raises:
      MemoryError: a device has less memory than that takes, and jax says so at once.
      ValueError: ``eval_every`` does not divide ``num_rounds``, a schedule of step
        sizes is too short, the algorithm does not fit the task, the loss is not a
        scalar, the params do not fit the task, or the run to resume is one of something
        else. Nothing has run then.

    >>> import tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=64, dim=8)
    >>> algorithm = tele.Teleportation(tele.graphs.ring(8), learning_rate=0.5)
    >>> run = simulate(algorithm, task, jnp.ones(8), jax.random.key(1),
    ...                num_rounds=100, eval_every=50)
    >>> run.rounds.tolist()
    [0, 50, 100]
    >>> bool(run.metrics["loss"][-1] < run.metrics["loss"][0])
    True
    """
    eval_every = checks.check_rounds(num_rounds, eval_every, resume is not None)
    done = 0 if resume is None else resume.rounds[-1]
    check_network(algorithm, task.num_nodes)
    checks.check_topology(algorithm)
    checks.check_schedule(algorithm, done, num_rounds)
    if not isinstance(observe, jax.tree_util.Partial):  # of a Partial it hides leaves
        observe = jax.tree_util.Partial(observe)
    algorithm, task, params, observe = map(_strong, (algorithm, task, params, observe))
    parts = {"algorithm": algorithm, "task": task, "params": params, "key": key}
    checks.check_processes(
        {"num_rounds": num_rounds, "eval_every": eval_every},
        {**parts, "observe": observe},
        is_fresh=resume is None,
    )
    given = (with_routes(algorithm), task, params, key, observe)
    with checks.memory_told(algorithm, task, params):
        return _run(given, num_rounds, eval_every, resume)


def _run(
    given: tuple[Algorithm, Task, Params, Key, Observe],
    num_rounds: int,
    eval_every: int,
    resume: Run | None,
) -> Run:
    """Call the compiled programs."""
    kinds = hash(jax.tree.structure(given))
    run = _begin(*given, kinds) if resume is None else resume
    if num_rounds == 0:
        return run
    start, num_evals = _common(run.rounds[-1]), num_rounds // eval_every
    advance, state = _advanced, run.state
    if not any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves((given, run))):
        advance, state = _advanced_in_place, _own(state, (given, resume))
    further = advance(*given, kinds, state, start, num_evals, eval_every)
    return concatenate(run, further) if resume is None else further


def _own(state: Any, others: Any) -> Any:
    """The state in arrays that nobody else holds, so that they may be written over."""
    held = set(map(id, jax.tree.leaves(others)))

    def own(leaf: Any) -> Any:
        if id(leaf) in held:
            return jnp.copy(leaf)
        held.add(id(leaf))
        return leaf

    return jax.tree.map(own, state)


@functools.partial(jax.jit, static_argnames="kinds")
def _begin(
    algorithm: Algorithm,
    task: Task,
    params: Params,
    key: Key,
    observe: Observe,
    kinds: int,
) -> Run:
    """Zero rounds: the initial state, evaluated.

    ``kinds`` tells the classes of the arguments apart. jax (0.10) takes two dataclasses
    with equally many leaves for equal, and jit would run the program of the other.
    """
    del kinds
    checks.check_loss(task, params)
    state = algorithm.init(params, task)
    measured = jax.tree.map(
        lambda value: jnp.asarray(value)[None], observe(state.params, task)
    )
    _, one = jax.eval_shape(algorithm.step, key, state, task, jnp.int32(0))
    info = jax.tree.map(lambda leaf: jnp.zeros((0, *leaf.shape), leaf.dtype), one)
    return Run(state, jnp.zeros(1, jnp.int32), measured, info)


def _advance(
    algorithm: Algorithm,
    task: Task,
    params: Params,
    key: Key,
    observe: Observe,
    kinds: int,
    state: Any,
    start: Array,
    num_evals: int,
    eval_every: int,
) -> Run:
    """``num_evals`` times ``eval_every`` rounds, each followed by an evaluation.

    The scans are nested, not one scan with a ``cond``: under ``vmap`` a ``cond`` on
    the round number would evaluate in every round.
    """
    del kinds
    checks.check_state(algorithm, task, params, state)

    def one_round(state: Any, t: Array) -> tuple[Any, Info]:
        return algorithm.step(jax.random.fold_in(key, t), state, task, t)

    def between_evaluations(state: Any, first: Array) -> tuple[Any, Any]:
        rounds = first + jnp.arange(eval_every, dtype=jnp.int32)
        state, info = jax.lax.scan(one_round, state, rounds)
        return state, (first + eval_every, observe(state.params, task), info)

    firsts = start + eval_every * jnp.arange(num_evals, dtype=jnp.int32)
    state, (rounds, measured, info) = jax.lax.scan(between_evaluations, state, firsts)
    info = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), info)
    return Run(state, rounds, measured, info)


_jit = functools.partial(jax.jit, static_argnames=("kinds", "num_evals", "eval_every"))
_advanced = _jit(_advance)
_advanced_in_place = _jit(_advance, donate_argnames="state")
"""The same, the new models in the place of the old ones. Of runs that ``vmap`` makes
from one start there are more new ones than old ones, so that it cannot be done."""


@jax.custom_batching.custom_vmap
def _common(start: Array) -> Array:
    """The start round, kept unbatched under ``vmap``.

    Runs that go on together have come equally far. Were the round number batched, so
    would be the topology of the round, and gossip would be slow.
    """
    return start


@_common.def_vmap
def _take_first(
    axis_size: int, in_batched: list[bool], start: Array
) -> tuple[Array, bool]:
    del axis_size
    return start[0] if in_batched[0] else start, False


def _strong(part: Any) -> Any:
    """Python numbers as arrays of their default type.

    jit types 0.1 weakly and jnp.float32(0.1) strongly, and would compile for each.
    """

    def strengthen(leaf: Any) -> Any:
        if isinstance(leaf, (bool, int, float)):
            return jnp.asarray(leaf, jnp.result_type(leaf))
        if callable(leaf):
            raise ValueError(
                f"simulate: got {leaf} among the numbers of {type(part).__name__}; "
                "name the function of a direction in a jax.tree_util.Partial, such as "
                "Partial(optax.trace, decay=0.9), and give a schedule of step sizes as "
                "an array, one for every round."
            )
        return leaf.astype(leaf.dtype) if getattr(leaf, "weak_type", False) else leaf

    return jax.tree.map(strengthen, part)
