"""Which number of active nodes is best."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from tele_jax.plot import looks
from tele_jax.plot.runs import LABELS, LOGARITHMIC, check_runs, values_of
from tele_jax.run import Run, num_slots


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

    Returns:
      The axes.

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
    check_runs("u_curve", runs, "k")
    if wrong := [k for k in runs if not isinstance(k, (int, np.integer))]:
        raise ValueError(f"u_curve: got {wrong[0]!r} as a k, expected integers.")
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
    if metric in LOGARITHMIC:
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
    values = values_of("u_curve", f"k = {k}", run, metric)
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
