"""Runs against each other: how they converge, and which k is best."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from tele_jax.plot import looks
from tele_jax.plot.curves import curves
from tele_jax.run import Run, num_slots
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
_LOGARITHMIC = ("grad_norm_sq", "consensus_distance")
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

    Raises:
      ValueError: there is no run, no such metric, nothing finite to draw, or a sweep
        over more than seeds.

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
    _check_runs("convergence", by_method, "name")
    lines = {}
    for name, run in by_method.items():
        values = _values("convergence", name, run, metric)
        lines[name + _diverged(values)] = _spent(name, run, against), values
    axes = curves(
        lines,
        xlabel=LABELS[against],
        ylabel=LABELS.get(metric, metric),
        logarithmic=against != "rounds",
        axes=axes,
    )
    if metric in _LOGARITHMIC:
        axes.set_yscale("log")
    if not isinstance(runs, Run):
        axes.legend(frameon=False)
    return axes


def u_curve(
    runs: Mapping[int, Run],
    metric: str = "grad_norm_sq",
    *,
    theory: float | None = None,
    axes: Axes | None = None,
) -> Axes:
    """A metric at the end against k: too few nodes are noisy, too many disagree.

    A point is the mean over the last fifth of the evaluations, at least one, and over
    seeds; the bar is ± one s.d. over seeds, the ring marks the smallest. A k of which a
    seed diverged has no point, and the legend says so.

    Args:
      runs: k to run; a batched run has its seeds as the leading axis.
      metric: one of those that ``observe`` returned; smaller is better.
      theory: k*, as ``theory.best_k`` gives it, drawn as a line.
      axes: where to draw; new ones by default.

    Raises:
      ValueError: there is no run, no such metric, nothing finite to draw, or a sweep
        over more than seeds.

    >>> import jax, jax.numpy as jnp, tele_jax as tele, matplotlib.pyplot as plt
    >>> task = tele.tasks.least_squares(
    ...     jax.random.key(0), num_nodes=8, dim=3, noise=1.0)
    >>> runs = {k: tele.simulate(
    ...     tele.Teleportation(tele.graphs.ring(k), 0.1), task, jnp.ones(3),
    ...     jax.random.key(1), num_rounds=50, eval_every=5) for k in (1, 4)}
    >>> axes = u_curve(runs)
    >>> axes.lines[0].get_xdata().tolist(), axes.get_yscale()
    ([1, 4], 'log')
    >>> plt.close(axes.figure)
    """
    _check_runs("u_curve", runs, "k")
    sizes = np.array(sorted(runs))
    ends = np.stack([_ends(int(k), runs[int(k)], metric) for k in sizes])
    found = np.isfinite(ends[:, 0])
    if not found.any():
        raise ValueError(
            f"u_curve: got a {metric} that is finite at the end for no k: all runs "
            "diverged; take a smaller step size."
        )
    axes = looks.new_axes(axes)
    _draw_points(axes, sizes[found], *ends[found].T)
    for k in sizes[~found]:
        axes.plot([], [], " ", label=f"k = {k} diverged")
    if theory is not None:
        axes.axvline(theory, color="0.5", ls="--", label=f"theory: k* = {theory:.3g}")
    axes.set_xscale("log", base=2)
    axes.set(xlabel="active nodes k", ylabel=f"{LABELS.get(metric, metric)} at the end")
    axes.set_xticks(sizes, [str(k) for k in sizes])
    axes.minorticks_off()
    if metric in _LOGARITHMIC:
        axes.set_yscale("log", nonpositive="clip")
    axes.legend(frameon=False)
    looks.tidy(axes)
    return axes


def _ends(k: int, run: Run, metric: str) -> np.ndarray:
    """Mean and s.d. over seeds at the end, NaN if one diverged."""
    if num_slots(run) != k:
        raise ValueError(
            f"u_curve: got a run of {num_slots(run)} slots as that of k = {k}, "
            "expected {k: run} with the k of each."
        )
    values = _values("u_curve", f"k = {k}", run, metric)
    ends = values[:, -max(1, values.shape[1] // 5) :].mean(axis=1)
    if not np.isfinite(ends).all():
        return np.full(2, np.nan)
    return np.array([ends.mean(), ends.std(ddof=min(1, len(ends) - 1))])


def _draw_points(
    axes: Axes, sizes: np.ndarray, mean: np.ndarray, deviation: np.ndarray
) -> None:
    """Means with bars, and a ring around the smallest."""
    colour = looks.COLOURS[1]
    axes.errorbar(
        sizes,
        mean,
        yerr=deviation,
        marker="o",
        capsize=3,
        color=colour,
        linewidth=looks.line_width(),
    )
    best = int(np.argmin(mean))
    axes.plot(
        sizes[best],
        mean[best],
        "o",
        markersize=13,
        markerfacecolor="none",
        markeredgecolor=colour,
        label=f"best here: k = {sizes[best]}",
    )


def _values(who: str, name: str, run: Run, metric: str) -> np.ndarray:
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


def _check_runs(who: str, runs: object, key: str) -> None:
    if not isinstance(runs, Mapping):
        raise ValueError(
            f"{who}: got {type(runs).__name__}, expected runs by their {key}, "
            f"{{{key}: run}}."
        )
    if not runs:
        raise ValueError(f"{who}: got no run, expected at least one.")


def _diverged(values: np.ndarray) -> str:
    """What the legend says of the seeds of a line that are not finite to the end."""
    finite = np.isfinite(values)
    later = finite[:, 1:] if values.shape[1] > 1 else finite
    if not later.all(axis=0).any():
        raise ValueError(
            "convergence: got a run that is not finite at any evaluation after the "
            "start: it diverged; take a smaller step size, or evaluate more often."
        )
    lost = int((~finite[:, -1]).sum())
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
