"""Where the chunks of a run go while it lasts: functions for ``drive(callbacks=…)``.

The loggers are given, not imported: none of them is needed by this package.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from tele_jax import processes
from tele_jax.algorithms.base import Info, reported
from tele_jax.run import Run

Callback = Callable[[Run], None]
"""What to do with every chunk, whose metrics and info are NumPy arrays."""


def tensorboard(writer: Any) -> Callback:
    """Send metrics to TensorBoard.

    Args:
      writer: a ``SummaryWriter``, of tensorboardX or of PyTorch.

    >>> class Printer:  # stands for a SummaryWriter
    ...     def add_scalar(self, name, value, step):
    ...         print(name, value, step)
    >>> send = tensorboard(Printer())
    >>> send(_example())
    loss 0.5 2
    round_loss 0.25 2
    round_messages 8.0 2
    """

    def send(chunk: Run) -> None:
        for num_done, values in _told(chunk):
            for name, value in values.items():
                writer.add_scalar(name, value, num_done)

    return send


def wandb(run: Any) -> Callback:
    """Send metrics to Weights & Biases.

    Args:
      run: what ``wandb.init(…)`` returns.

    >>> class Printer:  # stands for a run of wandb
    ...     def log(self, values, *, step):
    ...         print(step, values)
    >>> send = wandb(Printer())
    >>> send(_example())
    2 {'loss': 0.5, 'round_loss': 0.25, 'round_messages': 8.0}
    """

    def send(chunk: Run) -> None:
        for num_done, values in _told(chunk):
            run.log(values, step=num_done)

    return send


def scalars(chunk: Run) -> Iterator[tuple[int, dict[str, float]]]:
    """(rounds done, name to number) of every evaluation of a chunk.

    Of a batched run the means over the runs whose number is finite. Metrics are called
    as ``observe`` calls them, and what ``info`` says of the last round before the
    evaluation ``round_loss`` and ``round_messages``. Metrics that are no numbers, but
    arrays, are left out.

    Args:
      chunk: rounds [..., e], metrics [..., e, ...], info [..., t].

    >>> next(scalars(_example()))
    (2, {'loss': 0.5, 'round_loss': 0.25, 'round_messages': 8.0})
    """
    rounds = np.asarray(chunk.rounds)
    axis = rounds.ndim - 1
    metrics = {name: np.asarray(leaf) for name, leaf in chunk.metrics.items()}
    info = {
        f"round_{name}": np.asarray(leaf) for name, leaf in reported(chunk.info).items()
    }
    steps = rounds.reshape(-1, rounds.shape[-1])[0]
    for place, num_done in enumerate(steps.tolist()):
        values = {
            name: _mean(leaf[..., place])
            for name, leaf in metrics.items()
            if leaf.ndim == axis + 1
        }
        back = num_done - int(steps[-1]) - 1  # −1 is the last round of the chunk
        values |= {name: _mean(leaf[..., back]) for name, leaf in info.items()}
        yield num_done, values


def _told(chunk: Run) -> Iterator[tuple[int, dict[str, float]]]:
    """What a logger is told: by one process for all."""
    return scalars(chunk) if processes.is_first() else iter(())


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def _example() -> Run:
    """A chunk of two rounds with one evaluation, for the examples above."""
    info = Info(jnp.array([0.75, 0.25]), jnp.array([8, 8]))
    return Run(None, jnp.array([2]), {"loss": jnp.array([0.5])}, info)
