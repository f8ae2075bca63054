"""What ``simulate`` refuses, in words and before any work.

Numbers are checked before the jit; what only shapes can tell is checked while tracing,
once for every program.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tele_jax import processes
from tele_jax._digest import digest
from tele_jax._types import Array, Params
from tele_jax.algorithms.base import Algorithm
from tele_jax.analysis.footprint import memory
from tele_jax.tasks.base import Task, counts_draws


def check_rounds(num_rounds: int, eval_every: int | None, resumes: bool) -> int:
    """The rounds between evaluations, a divisor of ``num_rounds``."""
    least = 1 if resumes else 0
    if num_rounds < least:
        raise ValueError(
            f"simulate: got num_rounds={num_rounds}, expected at least {least}."
        )
    if eval_every is None or num_rounds == 0:
        return max(num_rounds, 1)
    if eval_every < 1 or num_rounds % eval_every:
        divisors = [d for d in range(1, num_rounds + 1) if num_rounds % d == 0]
        nearest = sorted(divisors, key=lambda d: abs(d - eval_every))[:2]
        raise ValueError(
            f"simulate: eval_every={eval_every} must divide num_rounds={num_rounds}; "
            f"try {' or '.join(map(str, sorted(nearest)))}."
        )
    return eval_every


def check_topology(algorithm: Algorithm) -> None:
    """Refuse what is no topology: arguments in the wrong order, a matrix, a builder."""
    topology = getattr(algorithm, "topology", None)
    if topology is None or callable(getattr(topology, "at", None)):
        return
    # Of a Timed algorithm, it is the algorithm's own.
    name = type(getattr(algorithm, "algorithm", algorithm)).__name__
    raise ValueError(
        f"{name}: got a {type(topology).__name__} as topology, expected one such as "
        f"graphs.ring(8), or from_matrices of mixing matrices: {name}(topology, "
        "learning_rate)."
    )


def check_schedule(algorithm: Algorithm, done: Array | int, num_rounds: int) -> None:
    """Refuse step sizes that are no number and no schedule that is long enough.

    Under ``vmap`` the number of rounds done is not known here; past the end of a
    schedule the step size is NaN.
    """
    shape = np.shape(getattr(algorithm, "learning_rate", 0.0))
    if shape == ():
        return
    needed = num_rounds
    if not isinstance(done, jax.core.Tracer):
        needed += int(done)
    if len(shape) > 1:
        raise ValueError(
            f"simulate: got step sizes of shape {shape}, expected one number or "
            "[num_rounds]; use jax.vmap for a sweep."
        )
    if shape[0] < needed:
        raise ValueError(
            f"simulate: got step sizes for {shape[0]} rounds, expected at least "
            f"{needed}; make the schedule longer or num_rounds smaller."
        )


def check_loss(task: Task, params: Params) -> None:
    """Refuse, while tracing, params or a loss that have no gradient."""
    for path, leaf in jax.tree.leaves_with_path(params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise ValueError(
                f"simulate: params{jax.tree_util.keystr(path)} is "
                f"{jnp.result_type(leaf)}, expected floating-point numbers."
            )

    def loss() -> Any:
        count = jnp.int32(0) if counts_draws(task) else None
        batch = task.sample(jax.random.key(0), jnp.int32(0), count)
        return task.loss(params, batch)

    leaves, tree = jax.tree.flatten(jax.eval_shape(loss))
    shapes = ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves)
    scalar = jax.tree_util.treedef_is_leaf(tree) and leaves[0].shape == ()
    if not (scalar and jnp.issubdtype(leaves[0].dtype, jnp.floating)):
        raise ValueError(
            f"simulate: the task's loss is {shapes or None}, expected one "
            "floating-point number per model and batch; take the mean over the batch."
        )


def check_state(algorithm: Algorithm, task: Task, params: Params, state: Any) -> None:
    """Refuse, while tracing, to go on from a run of something else."""
    check_loss(task, params)
    expected = jax.eval_shape(algorithm.init, params, task)
    got = jax.eval_shape(lambda: state)
    if got != expected:
        raise ValueError(
            f"simulate: the run to resume has the state {got}, expected {expected}; "
            "resume with the algorithm, task and params that it began with."
        )


def check_processes(
    rounds: dict[str, int], given: dict[str, Any], *, is_fresh: bool
) -> None:
    """Of many processes, refuse what is not the same run on all.

    Nothing but this would tell: each process would give its slots to a run that is
    partly of one setting and partly of another, or wait for one that is done.
    """
    if jax.process_count() == 1:
        return
    if jax.sharding.get_abstract_mesh().empty:
        raise ValueError(
            f"simulate: got no mesh, but there are {jax.process_count()} processes; "
            "write `with jax.set_mesh(tele_jax.slot_mesh()):` around it."
        )

    facts: dict[str, Any] = {**rounds}
    if is_fresh:  # to resume is done for every chunk
        for name, part in given.items():
            for path, leaf in jax.tree.leaves_with_path(part):
                facts[name + jax.tree_util.keystr(path)] = _told(leaf)
            facts[f"{name}, its kind,"] = digest(jax.tree.map(_kind, part))
    processes.check_alike("simulate", facts)


def _kind(leaf: Any) -> str:
    return f"{getattr(leaf, 'dtype', type(leaf))}{np.shape(leaf)}"


def _told(leaf: Any) -> Any:
    """A number itself, of more numbers a digest; what jax traces is not known."""
    if isinstance(leaf, jax.core.Tracer):
        return None
    is_key = isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    )
    if is_key or np.size(leaf) != 1:
        return digest(leaf)
    number = np.asarray(leaf).reshape(())
    # A float32 by its own digits, 0.1, and not by those of the float64 next to it.
    is_float = jnp.issubdtype(number.dtype, jnp.floating)
    return float(str(number)) if is_float else number.item()


@contextlib.contextmanager
def memory_told(algorithm: Algorithm, task: Task, params: Params) -> Iterator[None]:
    """Say what a run needs where a device has not as much.

    Raises:
      MemoryError: in place of jax's own error.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        needed = memory(algorithm, task, params, jax.default_backend())
        parts = (needed.total, needed.state, needed.data)
        total, state, data = (f"{number / 1e9:,.1f} GB" for number in parts)
        raise MemoryError(
            "simulate: there is no room for this run, which needs about "
            f"{total} on its devices together (of a sweep, each run does), {state} of "
            "them for all slots' models and what travels with them, "
            f"{data} for the data; take fewer slots, a smaller model, batch or "
            "slots_at_once, "
            f"or share the slots between more devices ({str(error).splitlines()[0]})."
        ) from error
