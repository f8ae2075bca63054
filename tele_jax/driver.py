"""Long runs on the host: chunks around ``simulate``, with progress."""

import sys
from collections.abc import Callable

import numpy as np
from tqdm.auto import tqdm

from tele_jax.simulate import Run, concatenate


def drive(
    simulate_chunk: Callable[[int, Run | None], Run],
    *,
    num_rounds: int,
    rounds_per_chunk: int,
    label: str = "",
) -> Run:
    """Repeat a chunk of a simulation, resumed from itself, and show how far it is.

    A progress bar tells rounds per second, the time that is left, the training loss
    and, where it is measured, the accuracy of the mean model: their means over a
    batched run. Ctrl-C returns what is done so far; compare ``run.rounds`` with
    ``num_rounds``. That a run diverged is said in words, and never raised.

    Args:
      simulate_chunk: ``(num_rounds, resume) -> Run``, a call of ``simulate`` with
        these two, possibly batched by ``vmap``. The chunks have equal length, so they
        compile once.
      num_rounds: how many rounds to do in all.
      rounds_per_chunk: how many at a time, a divisor of ``num_rounds``.
      label: what to write before the bar.

    Returns:
      All chunks as one ``Run``.

    Raises:
      ValueError: ``rounds_per_chunk`` does not divide ``num_rounds``.

    >>> import jax, jax.numpy as jnp, tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=4)
    >>> def chunk(num_rounds, resume):
    ...     algorithm = tele.DSGD(tele.graphs.ring(8), 0.5)
    ...     return tele.simulate(algorithm, task, jnp.ones(4), jax.random.key(1),
    ...                          num_rounds=num_rounds, resume=resume)
    >>> drive(chunk, num_rounds=20, rounds_per_chunk=5).rounds.tolist()
    [0, 5, 10, 15, 20]
    """
    if rounds_per_chunk < 1 or num_rounds % rounds_per_chunk:
        raise ValueError(
            f"drive: rounds_per_chunk={rounds_per_chunk} must divide "
            f"num_rounds={num_rounds}."
        )
    chunks = [simulate_chunk(0, None)]
    with tqdm(total=num_rounds, desc=label, unit="round", dynamic_ncols=True) as bar:
        try:
            for _ in range(num_rounds // rounds_per_chunk):
                chunks.append(simulate_chunk(rounds_per_chunk, chunks[-1]))
                bar.set_postfix(_summary(chunks[-1]), refresh=False)
                bar.update(rounds_per_chunk)
        except KeyboardInterrupt:
            pass  # what is done is kept, and said below
    # Joined once: joining as they come would copy, and compile for, every length.
    run = concatenate(*chunks)
    _tell(run, num_rounds, label)
    return run


def _num_done(run: Run) -> int:
    return int(np.max(np.asarray(run.rounds)))


def _summary(run: Run) -> dict[str, str]:
    shown = {"loss": np.asarray(run.info.loss)[..., -1]}
    if "accuracy" in run.metrics:
        shown["accuracy"] = np.asarray(run.metrics["accuracy"])[..., -1]
    # Runs that diverged are told of at the end; here they would hide the others.
    finite = {name: values[np.isfinite(values)] for name, values in shown.items()}
    return {
        name: f"{values.mean():.4g}" if values.size else "nan"
        for name, values in finite.items()
    }


def _tell(run: Run, num_rounds: int, label: str) -> None:
    """Say on the standard error stream what a user would otherwise overlook."""
    name = f"{label}: " if label else ""
    if (done := _num_done(run)) < num_rounds:
        tqdm.write(
            f"{name}interrupted after {done} of {num_rounds} rounds.",
            file=sys.stderr,
        )
    diverged = ~np.isfinite(np.asarray(run.info.loss))
    if diverged.any():
        runs = diverged.any(axis=-1)
        first = int(diverged.reshape(-1, diverged.shape[-1]).any(axis=0).argmax())
        tqdm.write(
            f"{name}{runs.sum()} of {runs.size} runs diverged (the loss is not finite "
            f"from round {first} on); try a smaller step size.",
            file=sys.stderr,
        )
