"""Where the chunks of a run go while it lasts: functions for ``drive(callbacks=…)``.

The loggers are given, not imported: none of them is needed by this package.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tele_jax.simulate import Run

Callback = Callable[[Run], None]
"""What to do with every chunk, whose metrics and info are NumPy arrays."""


def tensorboard(writer: Any) -> Callback:
    """Send metrics to TensorBoard.

    Args:
      writer: a ``SummaryWriter``, of tensorboardX or of PyTorch.
    """

    def send(chunk: Run) -> None:
        for num_done, values in scalars(chunk):
            for name, value in values.items():
                writer.add_scalar(name, value, num_done)

    return send


def wandb(run: Any) -> Callback:
    """Send metrics to Weights & Biases.

    Args:
      run: what ``wandb.init(…)`` returns.
    """

    def send(chunk: Run) -> None:
        for num_done, values in scalars(chunk):
            run.log(values, step=num_done)

    return send


def scalars(chunk: Run) -> Iterator[tuple[int, dict[str, float]]]:
    """(rounds done, name to number) of every evaluation of a chunk.

    Of a batched run the means over the runs whose number is finite. Metrics are called
    as ``observe`` calls them, and what ``info`` says of the last round before the
    evaluation ``round_loss`` and ``round_messages``. Metrics that are no numbers, but
    arrays, are left out.
    """
    rounds = np.asarray(chunk.rounds)
    axis = rounds.ndim - 1
    metrics = {name: np.asarray(leaf) for name, leaf in chunk.metrics.items()}
    info = {
        f"round_{name}": np.asarray(leaf) for name, leaf in chunk.info._asdict().items()
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


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
