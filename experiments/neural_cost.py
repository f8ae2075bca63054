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


_CPU_FLOPS = {"vgg11": 1.1e11, "resnet18": 1e11, "resnet20": 1e11, "mixer": 5e10}
"""Operations a second of a core with AVX-512, evaluations included."""
_CPU_FLOPS_OF_OTHERS = 1.4e10
"""Those of LeNet."""
_ACCELERATOR_FLOPS = 1e13
"""Our guess for networks this small."""
_operations = EngFormatter("FLOP", places=1)
"""Their number, for people."""


class Needed(NamedTuple):
    """Bytes on one device, of those that share the slots."""

    models: int
    """With their momentum, twice: also what a chunk of rounds is resumed from."""
    step: int
    """Activations and gradients of the slots that step at the same time."""
    evaluation: int
    """Activations where one model is evaluated."""
    data: int
    """Of the test and the validation task."""

    @property
    def of_seed(self) -> int:
        """What every seed needs for itself; steps and evaluations take turns."""
        return self.models + max(self.step, self.evaluation)


class Plan(NamedTuple):
    """How the study runs, and what that takes."""

    seeds_per_program: int
    needed: Needed
    """By one seed of the cell that takes the most memory."""
    available: int
    """Bytes of a device."""
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
    on = next(iter(tasks.values()))
    model: Any = on.test.model
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), on.test.inputs[:1]))
    on_cpu = machine.device().platform == "cpu"
    sizes = [_needed(config, sized(config, cell), on, params) for cell in cells]
    needed = max(sizes, key=lambda found: found.of_seed)
    available = machine.memory_of(machine.device())
    fitting = (available - needed.data) // max(1, needed.of_seed)
    # On a CPU seeds gain nothing from running at the same time.
    most = 1 if on_cpu else max(1, fitting)
    wanted = min(config.seeds_per_program or most, config.num_seeds)
    if wanted > fitting:
        total = needed.data + wanted * needed.of_seed
        raise ValueError(
            f"seeds at a time: {wanted} of {config.num_seeds}, which need about "
            f"{machine.bytes_told(total)} ({_told(needed)}); a device has "
            f"{machine.bytes_told(available)}; {_remedy(needed, available)}."
        )
    gradients = sum(_gradients(config, cell, tasks[cell.alpha].test) for cell in cells)
    of_core = _CPU_FLOPS.get(config.model, _CPU_FLOPS_OF_OTHERS)
    speed = of_core * measure.num_cores() if on_cpu else _ACCELERATOR_FLOPS
    flops = _flops(on.test, params)
    return Plan(wanted, needed, available, gradients, flops, speed)


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
        f"Memory on a device, of {machine.bytes_told(plan.available)}: about "
        f"{_told(plan.needed)}; {plan.seeds_per_program} of {config.num_seeds} seeds "
        "at a time."
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


def _needed(config: "Config", cell: Cell, on: Tasks, params: Any) -> Needed:
    algorithm = neural_cells.build(config, cell, 1)(0.1)
    platform = machine.device().platform
    found = tele.analysis.memory(algorithm, on.test, params, platform)
    slots = cell.num_active
    sharing = machine.num_sharing(slots)
    stepping = min(-(-slots // sharing), found.slots_at_once)
    return Needed(
        # Where the devices do not divide the slots, each holds all models.
        models=2 * found.state // (sharing if slots % sharing == 0 else 1),
        step=found.step * stepping // found.slots_at_once,
        evaluation=found.evaluation,
        data=found.data + on.validation.test_inputs.nbytes,
    )


def _remedy(needed: Needed, available: int) -> str:
    """What to change where it does not fit."""
    if needed.data + needed.of_seed <= available:
        return "lower --seeds-per-program"
    if needed.data > available:
        return "take a smaller --dataset"
    if needed.data + needed.models > available:
        return "lower --num-nodes or take a smaller --model"
    if needed.data + needed.models + needed.evaluation > available:
        return "take a smaller --model, which is evaluated on many images at a time"
    return (
        "lower --batch-size, or give --slots-at-once or --examples-at-once, or to a "
        "deep model --remat"
    )


def _told(needed: Needed) -> str:
    work = max(needed.step, needed.evaluation)
    return (
        f"{machine.bytes_told(needed.data)} of data and, for each seed, "
        f"{machine.bytes_told(needed.models)} of models and momentum and "
        f"{machine.bytes_told(work)} of activations"
    )
