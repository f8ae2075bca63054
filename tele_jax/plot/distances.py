"""How far the live models are from each other."""

import jax
import numpy as np
from matplotlib.axes import Axes

from tele_jax.plot import looks
from tele_jax.run import Run

_MAX_SLOTS = 2_000


def distances(run: Run, *, axes: Axes | None = None) -> Axes:
    """A heat map of ‖x_a − x_b‖ between the slots at the end of a run.

    On a ring, slots far apart on it disagree most; on a complete graph nobody does.

    Args:
      run: one run; of a sweep, choose one by an index.
      axes: where to draw; new ones by default.

    Returns:
      The axes.

    Raises:
      ValueError: this is a sweep, there are more than 2,000 slots, or a model is not
        finite.

    >>> import jax.numpy as jnp, tele_jax as tele, matplotlib.pyplot as plt
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=3)
    >>> run = tele.simulate(tele.DSGD(tele.graphs.ring(8), 0.1), task, jnp.ones(3),
    ...                     jax.random.key(1), num_rounds=20)
    >>> axes = distances(run)
    >>> axes.images[0].get_array().shape
    (8, 8)
    >>> plt.close(axes.figure)
    """
    if np.ndim(run.rounds) > 1:
        raise ValueError(
            f"distances: got a sweep of {np.shape(run.rounds)[:-1]} runs, expected "
            "one; choose one by an index, as in runs[0]."
        )
    leaves = [
        np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(run.state.params)
    ]
    size = len(leaves[0])
    if size > _MAX_SLOTS:
        raise ValueError(
            f"distances: got {size:,} slots, expected at most {_MAX_SLOTS:,}, for more "
            "cannot be seen; take some of them."
        )
    models = np.concatenate([leaf.reshape(size, -1) for leaf in leaves], axis=1)
    if not np.isfinite(models).all():
        raise ValueError(
            "distances: got models that are not finite: the run diverged; take a "
            "smaller step size."
        )
    apart = np.stack([np.linalg.norm(models - model, axis=1) for model in models])
    axes = looks.new_axes(axes)
    image = axes.imshow(apart, cmap="viridis", vmin=0.0)
    axes.figure.colorbar(image, ax=axes, label="‖x_a − x_b‖")
    axes.set(xlabel="slot b", ylabel="slot a")
    return axes
