"""What the neural study will take, told before it starts."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from matplotlib.ticker import EngFormatter
from tqdm import tqdm

import tele_jax as tele
from experiments import machine, neural_cells
from experiments.benchmarks import measure
from experiments.neural_cells import Cell
from experiments.neural_data import Tasks

if TYPE_CHECKING:
    from experiments.neural import Config


_CPU_FLOPS = 1.4e10
"""Operations a second of a core: those of LeNet, with the time of its evaluations."""
_ACCELERATOR_FLOPS = 1e13
"""Our guess for networks this small."""


_operations = EngFormatter("FLOP", places=1)
"""Their number, for people."""


class Plan(NamedTuple):
    """How the study runs, and what that takes."""

    seeds_per_program: int
    largest: tele.analysis.Memory
    """Of one seed of the cell that takes the most memory."""
    available: int
    """Bytes of the device."""
    gradients: int
    """Of all cells, seeds and step sizes."""
    flops: float
    """Floating-point operations of a gradient, as XLA counts them."""
    speed: float
    """Operations a second that the device is expected to do."""


def plan(config: "Config", cells: Sequence[Cell], tasks: Mapping[float, Tasks]) -> Plan:
    """Decide how many seeds run at a time.

    Raises:
      ValueError: one seed does not fit into memory; with what to change.
    """
    task = next(iter(tasks.values())).test
    model: Any = task.model
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), task.inputs[:1]))
    device = machine.device()
    on_cpu = device.platform == "cpu"
    largest = max(
        (
            tele.analysis.memory(
                neural_cells.build(config, sized(config, cell), 1)(0.1),
                task,
                params,
                device.platform,
            )
            for cell in cells
        ),
        key=lambda found: found.total,
    )
    available = machine.memory_of(device)
    each = _bytes_of_seed(largest)
    fitting = (available - largest.data) // max(1, each)
    # On a CPU seeds gain nothing from running at the same time.
    most = 1 if on_cpu else max(1, fitting)
    wanted = min(config.seeds_per_program or most, config.num_seeds)
    if wanted > fitting:
        needed = largest.data + wanted * each
        raise ValueError(
            f"{wanted} seeds at a time need about {machine.bytes_told(needed)} (each "
            f"{_told(largest)}), the device has {machine.bytes_told(available)}; lower "
            "--seeds-per-program or --batch-size, or give --slots-at-once or "
            "--examples-at-once, or to a deep model --remat."
        )
    gradients = sum(_gradients(config, cell, tasks[cell.alpha].test) for cell in cells)
    speed = _CPU_FLOPS * measure.num_cores() if on_cpu else _ACCELERATOR_FLOPS
    return Plan(wanted, largest, available, gradients, _flops(task, params), speed)


def _flops(task: tele.tasks.Classification, params: Any) -> float:
    """Of one gradient.

    Of the loss and not task.value_and_grad: XLA counts the body of a loop over blocks
    of examples once.
    """

    def gradient(params: Any) -> Any:
        batch = task.sample(jax.random.key(0), jnp.int32(0), jnp.int32(0))
        return jax.grad(task.loss)(params, batch)

    cost = jax.jit(gradient).lower(params).cost_analysis() or {}
    return float(cost.get("flops", 0.0))


def sized(config: "Config", cell: Cell) -> Cell:
    """The cell with some k where Algorithm 2 is to choose: half of n."""
    size = cell.num_active or max(1, config.num_nodes // 2)
    return dataclasses.replace(cell, num_active=size)


def text(config: "Config", plan: Plan) -> str:
    """A few lines for people."""
    seconds = plan.gradients * plan.flops / plan.speed
    long = tqdm.format_interval(seconds) if seconds >= 60 else "less than a minute"
    return (
        f"{plan.gradients:,} gradients of {config.recipe.batch_size} images, "
        f"{_operations(plan.flops)} each: {long} at {_operations(plan.speed)}/s, and "
        "compiling.\n"
        f"Memory of a seed: about {_told(plan.largest)}, of "
        f"{machine.bytes_told(plan.available)}; {plan.seeds_per_program} of "
        f"{config.num_seeds} seeds at a time."
    )


def _gradients(config: "Config", cell: Cell, task: tele.tasks.Classification) -> int:
    """Of a cell: final runs, those that choose its step size, and Algorithm 2."""
    one = sized(config, cell)
    each = neural_cells.rounds_per_epoch(config, one, task) * one.num_active
    epochs = config.num_seeds * config.epochs
    if len(config.rates) > 1 and cell.reading == "gradients":
        epochs += len(config.rates) * config.tuning_epochs
    total = each * epochs * config.recipe.local_steps
    if cell.num_active == 0 and cell.reading == "gradients" and not cell.ablation:
        rounds = dataclasses.replace(one, reading="rounds")
        searched = neural_cells.rounds_per_epoch(config, rounds, task)
        active = sum(sum(wave) for wave in tele.plan_waves(config.num_nodes))
        total += len(config.rates) * config.tuning_epochs * searched * active
    return total


def _bytes_of_seed(memory: tele.analysis.Memory) -> int:
    """Beside the data, with the models that a chunk of rounds is resumed from."""
    return memory.total - memory.data + memory.state


def _told(memory: tele.analysis.Memory) -> str:
    work = max(memory.step, memory.evaluation)
    return (
        f"{machine.bytes_told(2 * memory.state)} of models and momentum, "
        f"{machine.bytes_told(work)} of activations and "
        f"{machine.bytes_told(memory.data)} of data"
    )
