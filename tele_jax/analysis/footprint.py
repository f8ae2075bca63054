"""How much memory a simulation takes, before anything is compiled."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, Literal, jaxprs_in_params

from tele_jax._types import Params
from tele_jax.algorithms.base import Algorithm
from tele_jax.devices import block_size
from tele_jax.tasks.base import Task, batch_bytes, evaluate, value_and_grad

_KEPT = {
    *("dot_general", "conv_general_dilated", "concatenate", "gather", "sort"),
    *("scatter", "scatter-add", "scatter_add", "dynamic_update_slice", "cumsum"),
    *("reduce_sum", "reduce_max", "reduce_window", "argmax", "while", "scan", "cond"),
    *("exp", "log", "tanh", "logistic", "erf"),
    *("random_bits", "threefry2x32", "random_wrap"),
}
"""Whose results are written to memory, since they are made of many numbers or dear to
make twice; XLA fuses the others into what reads them."""
_READ = {"dot_general", "conv_general_dilated"}
"""Whose operands are in memory, whatever made them."""


class Memory(NamedTuple):
    """An estimate, bytes."""

    data: int
    """The task's arrays."""
    state: int
    """k models and the memory of their directions; once more while a run is resumed, as
    ``drive`` does all the time: it writes beside the run that it started from."""
    step: int
    """Activations, gradients and batches of the slots that step at the same time."""
    evaluation: int
    """Activations where one model is evaluated."""
    slots_at_once: int
    """How many slots step at the same time."""

    @property
    def total(self) -> int:
        """Everything; step and evaluation take turns."""
        return self.data + self.state + max(self.step, self.evaluation)


def memory(algorithm: Algorithm, task: Task, params: Params, platform: str) -> Memory:
    """Bytes that ``simulate`` will take: data + state + max(step, evaluation).

    A round writes its models over those that it read, or, where all slots step at the
    same time, over their gradients, which ``step`` counts.
    Activations are those that are alive at the same time in the computation of one
    slot's gradient; cheap elementwise operations are taken to be fused into what reads
    them, if it is not a matrix product. XLA's own count of the compiled program was
    between 0.85 and 1.25 times this for the models of ``tasks.models`` on a CPU, half
    where a model with ``remat`` is evaluated on many examples.

    Args:
      algorithm: ``DSGD``, ``Teleportation`` or another.
      task: the data and the loss.
      params: **one** model.
      platform: "cpu", "gpu" or "tpu"; on a CPU slots step in blocks that fit its cache.

    Returns:
      A ``Memory``.

    Raises:
      ValueError: there is no such platform.

    >>> import tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=64, dim=256)
    >>> found = memory(tele.DSGD(tele.graphs.ring(64), 0.1), task, jnp.ones(256), "gpu")
    >>> found.state  # 64 models of 256 numbers of four bytes
    65536
    """
    if platform not in ("cpu", "gpu", "tpu"):
        raise ValueError(
            f'memory: got platform={platform!r}, expected "cpu", "gpu" or "tpu".'
        )
    state: Any = jax.eval_shape(algorithm.init, params, task)
    num_slots = len(jax.tree.leaves(state.params)[0])
    at_once = getattr(algorithm, "slots_at_once", None)
    if at_once is None:
        bytes_per_slot = _bytes_of(state.params) // num_slots + batch_bytes(task)
        cpu = platform == "cpu"
        at_once = block_size(num_slots, bytes_per_slot) if cpu else num_slots

    def gradient(params: Params) -> Any:
        batch = task.sample(jax.random.key(0), jnp.int32(0), jnp.int32(0))
        return value_and_grad(task, params, batch)

    return Memory(
        data=_bytes_of(task),
        state=_bytes_of(state),
        step=at_once * _peak(jax.make_jaxpr(gradient)(params).jaxpr),
        evaluation=_peak(jax.make_jaxpr(lambda x: evaluate(task, x))(params).jaxpr),
        slots_at_once=at_once,
    )


def _peak(jaxpr: Jaxpr) -> int:
    """The most bytes of its own arrays that a computation has alive at a time."""
    kept, last_use = _in_memory(jaxpr)
    alive: dict[Any, int] = {}
    most = 0
    for number, equation in enumerate(jaxpr.eqns):
        inner = [_peak(part) for part in jaxprs_in_params(equation.params)]
        sizes = {variable: _size(variable.aval) for variable in equation.outvars}
        made, within = sum(sizes.values()), max(inner, default=0)
        # A loop's results are beside what a turn of it has; a call's are among it.
        loop = equation.primitive.name in ("scan", "while")
        made = made + within if loop else max(made, within)
        most = max(most, sum(alive.values()) + made)
        alive |= {v: size for v, size in sizes.items() if v in kept}
        alive = {v: size for v, size in alive.items() if last_use.get(v, -1) > number}
    return most


def _in_memory(jaxpr: Jaxpr) -> tuple[set[Any], dict[Any, int]]:
    """The variables that are written to memory, and the last equation that reads each.

    What is fused into its reader reads when that does.
    """
    kept: set[Any] = set()
    last_use = {variable: len(jaxpr.eqns) for variable in _variables(jaxpr.outvars)}
    for number, equation in reversed(list(enumerate(jaxpr.eqns))):
        name, results = equation.primitive.name, set(equation.outvars)
        if name in _KEPT or list(jaxprs_in_params(equation.params)):
            kept |= results
        if name in _READ:
            kept |= set(_variables(equation.invars))
        later = [last_use.get(variable, number) for variable in results - kept]
        for variable in _variables(equation.invars):
            last_use[variable] = max(number, last_use.get(variable, 0), *later)
    return kept, last_use


def _variables(atoms: list[Any]) -> list[Any]:
    return [atom for atom in atoms if not isinstance(atom, Literal)]


def _bytes_of(tree: Any) -> int:
    return sum(_size(leaf) for leaf in jax.tree.leaves(tree))


def _size(array: Any) -> int:
    """Bytes; a key counts as two words."""
    shape = getattr(array, "shape", ())
    return math.prod(shape) * getattr(jnp.result_type(array), "itemsize", 8)
