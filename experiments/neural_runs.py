"""Training of the neural study: some seeds in one program, and their rows."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import tele_jax as tele
from experiments import machine
from experiments.results import Folder
from tele_jax import driver
from tele_jax.devices import over_slots

if TYPE_CHECKING:
    from experiments.neural import Config
    from experiments.neural_data import Tasks

FEW = 1000
"""Test images on which every slot is evaluated while a run goes on."""


class Length(NamedTuple):
    """How long a run is; the mean model is evaluated after every epoch."""

    epochs: int
    rounds_per_epoch: int

    @property
    def num_rounds(self) -> int:
        """Rounds in all."""
        return self.epochs * self.rounds_per_epoch


class Group(NamedTuple):
    """Seeds that train in one program."""

    seeds: np.ndarray
    """int[seeds]."""
    label: str
    """What people call the run."""
    name: str
    """Of its directory, unique in the study."""


def observe(slots: Any, task: Any) -> tele.Metrics:
    """The mean model on all test images, every slot on some of them."""
    few = task.replace(
        test_inputs=task.test_inputs[:FEW], test_labels=task.test_labels[:FEW]
    )
    return {
        **task.evaluate(tele.tree.average(slots)),
        **_spread(slots, few),
        **tele.metrics.consensus(slots, task),
    }


def _spread(slots: Any, task: Any) -> tele.Metrics:
    accuracy = over_slots(_accuracy, task, slots, at_once=1)
    return {"slot_accuracy_mean": accuracy.mean(0), "slot_accuracy_sd": accuracy.std(0)}


def _accuracy(task: Any, params: Any) -> jax.Array:
    return task.evaluate(params)["accuracy"]


_final = jax.jit(jax.vmap(_spread, (0, None)))


def train(
    build: Callable[[Any], Any],
    task: Any,
    rate: float,
    group: Group,
    length: Length,
    folder: Folder,
) -> list[dict[str, Any]]:
    """Train from a group of seeds, and measure after every epoch.

    A run that was interrupted goes on from its checkpoint, one that is done is read.

    Returns:
      One row per seed and evaluation; the last of a seed also has every slot's accuracy
      on all test images, their mean and standard deviation.

    Raises:
      KeyboardInterrupt: Ctrl-C stopped it before the last round.
    """
    starts = jax.vmap(functools.partial(_start, task))(jnp.asarray(group.seeds))
    # Leaves alone: what else a task is, the config tells, or it changes no number.
    data = (jax.tree.leaves(task), starts[1], starts[2])
    directory = folder.directory(group.name, data)
    algorithm = build(jnp.float32(rate))
    with machine.devices_share(algorithm.topology.num_slots):
        run = driver.drive(
            _chunk(algorithm, task, starts),
            num_rounds=length.num_rounds,
            rounds_per_chunk=length.rounds_per_epoch,
            label=group.label,
            directory=directory,
            progress=folder.progress,
        )
        if int(run.rounds[0, -1]) < length.num_rounds:
            raise KeyboardInterrupt
        final = _final(run.state.params, task)
    return _rows(run, final, algorithm.local_steps, group.seeds, length)


def _chunk(
    algorithm: Any, task: Any, starts: Any
) -> Callable[[int, tele.Run | None], tele.Run]:
    """What ``drive`` repeats: all seeds at once, each from its own start."""

    def one(num_rounds: int, start: Any, resume: tele.Run | None) -> tele.Run:
        params, run_key, epoch_key = start
        own = task if task.epoch_key is None else task.replace(epoch_key=epoch_key)
        return tele.simulate(
            algorithm,
            own,
            params,
            run_key,
            num_rounds=num_rounds,
            observe=observe,
            resume=resume,
        )

    def chunk(num_rounds: int, resume: tele.Run | None) -> tele.Run:
        return jax.vmap(functools.partial(one, num_rounds))(starts, resume)

    return chunk


def _start(task: tele.tasks.Classification, seed: jax.Array) -> tuple[Any, Any, Any]:
    """The initial model, the key of the run, and that of its epochs."""
    model: Any = task.model
    start_key, run_key, epoch_key = jax.random.split(jax.random.key(seed), 3)
    return model.init(start_key, task.inputs[:1]), run_key, epoch_key


def _rows(
    run: tele.Run, final: Any, local_steps: int, seeds: np.ndarray, length: Length
) -> list[dict[str, Any]]:
    messages = tele.metrics.messages_sent(run.info)
    num_slots = len(jax.tree.leaves(run.state.params)[0][0])
    one = jax.tree.map(lambda leaf: leaf[0, 0], run.state.params)
    rows = []
    for place, seed in enumerate(seeds.tolist()):
        losses = np.asarray(run.info.loss[place]).reshape(length.epochs, -1).mean(1)
        for epoch, done in enumerate(np.asarray(run.rounds[place]).tolist()):
            sent = int(messages[place, done - 1]) if done else 0
            row = {
                "seed": seed,
                "epoch": epoch,
                "round": done,
                "gradients": done * num_slots * local_steps,
                "messages": sent,
                "bytes": sent * tele.tree.num_bytes(one),
                "train_loss": float(losses[epoch - 1]) if epoch else None,
            }
            for name, values in run.metrics.items():
                row[name] = float(values[place, epoch])
            rows.append(row)
        for name, values in final.items():
            rows[-1][f"final_{name}"] = float(values[place])
    return rows


def search(
    config: "Config",
    build: Callable[[int], tele.Topology],
    on: "Tasks",
    rate: float,
    num_rounds: int,
) -> tuple[float, int]:
    """Algorithm 2 with one step size: the best accuracy, and its k."""
    params, run_key, epoch_key = _start(on.validation, jnp.int32(config.seed + 7))
    task: Any = on.validation
    if task.epoch_key is not None:
        task = task.replace(epoch_key=epoch_key)
    with machine.devices_share(config.num_nodes):
        found = tele.search(
            build,
            task,
            params,
            run_key,
            jnp.asarray(rate * config.recipe.factors(num_rounds)),
            num_rounds=num_rounds,
            direction=config.recipe.direction(),
            observe=tele.metrics.consensus,
        )
    scores = np.nan_to_num(np.asarray(found.scores), nan=-np.inf)
    return float(scores.max()), int(found.candidates[int(scores.argmax())])
