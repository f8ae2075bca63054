"""Runs against each other: how they converge."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from tele_jax.plot.curves import curves
from tele_jax.run import Run
from tele_jax.tables import costs

LABELS = {
    "loss": "f(x̄)",
    "grad_norm_sq": "‖∇f(x̄)‖²",
    "consensus_distance": "consensus distance (1/k) Σ ‖x_a − x̄‖²",
    "accuracy": "test accuracy of the mean model",
    "slot_accuracy_mean": "test accuracy, mean over the live models",
    "slot_accuracy_min": "test accuracy, the worst live model",
    "slot_accuracy_max": "test accuracy, the best live model",
    "rounds": "rounds",
    "gradients": "gradients, over all nodes",
    "messages": "messages (models sent)",
    "seconds": "simulated seconds",
    "bytes": "bytes sent",
}
"""What stands at the axes."""
LOGARITHMIC = ("grad_norm_sq", "consensus_distance")
Against = Literal["rounds", "gradients", "messages", "seconds", "bytes"]


def convergence(
    runs: Run | Mapping[str, Run],
    metric: str = "loss",
    *,
    against: Against = "rounds",
    axes: Axes | None = None,
) -> Axes:
    """A metric over a run: one line per method, with a band over its seeds.

    The line is the mean over seeds, the band ± one s.d. Both end where a seed is not
    finite any more, and the legend says how many diverged. What was spent differs
    between seeds, if at all, by little: x is its mean. ‖∇f(x̄)‖² and the consensus
    distance are drawn on a logarithmic axis, and so is what is spent other than rounds.

    Args:
      runs: a run, or name to run; a batched run has its seeds as the leading axis.
      metric: one of those that ``observe`` returned.
      against: what to count, see ``tables.costs``.
      axes: where to draw; new ones by default.

    Returns:
      The axes.

    Raises:
      ValueError: there is no run, no such metric, nothing to draw after the start, or
        a sweep over more than one axis.

    >>> import jax, jax.numpy as jnp, tele_jax as tele, matplotlib.pyplot as plt
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=3)
    >>> def run(method):
    ...     return tele.simulate(method, task, jnp.ones(3), jax.random.key(1),
    ...                          num_rounds=20, eval_every=5)
    >>> axes = convergence({
    ...     "DSGD": run(tele.DSGD(tele.graphs.ring(8), 0.1)),
    ...     "TELEPORTATION": run(tele.Teleportation(tele.graphs.ring(4), 0.1)),
    ... }, against="messages")
    >>> axes.get_xlabel(), [len(line.get_xdata()) for line in axes.lines]
    ('messages (models sent)', [4, 4])
    >>> plt.close(axes.figure)
    """
    by_method = {"": runs} if isinstance(runs, Run) else runs
    check_runs("convergence", by_method, "name")
    lines = {}
    for name, run in by_method.items():
        values = values_of("convergence", str(name), run, metric)
        label = f"{name}{_diverged(values)}"
        if metric in LOGARITHMIC:  # models that agree exactly, as at the start
            values = np.where(values > 0, values, np.nan)
        drawn = np.where(np.isfinite(values), values, np.nan)
        lines[label] = _spent(str(name), run, against), drawn
    later = [y[:, 1:] if y.shape[1] > 1 else y for _, y in lines.values()]
    if not any(np.isfinite(y).all(axis=0).any() for y in later):
        raise ValueError(
            f"convergence: got no {metric} that could be drawn after the start: all "
            "runs diverged, or it is 0; take smaller step sizes."
        )
    axes = curves(
        lines,
        xlabel=LABELS[against],
        ylabel=LABELS.get(metric, metric),
        logarithmic=against != "rounds",
        axes=axes,
    )
    if metric in LOGARITHMIC:
        axes.set_yscale("log")
    most = max(len(y) for _, y in lines.values())
    if not isinstance(runs, Run):
        title = f"mean ± s.d. of {most} seeds" if most > 1 else None
        axes.legend(frameon=False, title=title)
    return axes


def values_of(who: str, name: str, run: Run, metric: str) -> np.ndarray:
    """[seeds, e] of a metric, float64."""
    of_whom = f" of {name!r}" if name else ""
    if metric not in run.metrics:
        known = ", ".join(run.metrics) or "nothing"
        raise ValueError(
            f"{who}: got metric={metric!r}, but the run{of_whom} measured {known}; "
            "simulate(…, observe=…) decides what is measured."
        )
    values = np.asarray(run.metrics[metric], np.float64)
    if values.ndim > 2 or values.shape != np.shape(run.rounds):
        shape = ", ".join(map(str, values.shape))
        raise ValueError(
            f"{who}: got {metric}[{shape}]{of_whom}, expected [e], or [seeds, e] with "
            "one axis of seeds; choose one of the others, as in runs[:, 3]."
        )
    return values.reshape(-1, values.shape[-1])


def check_runs(who: str, runs: object, key: str) -> None:
    if not isinstance(runs, Mapping):
        raise ValueError(
            f"{who}: got {type(runs).__name__}, expected runs by their {key}, "
            f"{{{key}: run}}."
        )
    if not runs:
        raise ValueError(f"{who}: got no run, expected at least one.")


def _diverged(values: np.ndarray) -> str:
    """What the legend says of the seeds of a line that are not finite to the end."""
    lost = int((~np.isfinite(values[:, -1])).sum())
    if not lost:
        return ""
    return f" ({lost} of {len(values)} diverged)" if len(values) > 1 else " (diverged)"


def _spent(name: str, run: Run, against: str) -> np.ndarray:
    """x of a line, [e]: the mean over seeds."""
    spent = costs(run)
    if against not in spent:
        known = ", ".join(spent)
        clocks = (
            "; tele.Timed(algorithm, network) has clocks" if against in LABELS else ""
        )
        raise ValueError(
            f"convergence: got against={against!r}, but the run"
            f"{name and f' of {name!r}'} counted {known}{clocks}."
        )
    if not spent[against].any():
        raise ValueError(
            f"convergence: the run{name and f' of {name!r}'} took no {against}."
        )
    return spent[against].reshape(-1, spent[against].shape[-1]).mean(axis=0)
