"""A figure that grows while a run goes on."""

import matplotlib.pyplot as plt
import numpy as np

from tele_jax.callbacks import Callback, scalars
from tele_jax.plot.curves import curves
from tele_jax.run import Run


def live(metric: str = "loss") -> Callback:
    """Draw a metric in a notebook, again after every chunk: for ``drive(callbacks=…)``.

    Args:
      metric: a name that ``observe`` gives, or ``round_loss``; of a batched run the
        mean over its runs is drawn.
    """
    from IPython.display import display  # there in a notebook, and needed nowhere else

    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    plt.close(figure)  # a notebook would show it once more at the end of the cell
    shown = display(figure, display_id=True)
    seen: dict[int, float] = {}

    def draw(chunk: Run) -> None:
        found = {num_done: values for num_done, values in scalars(chunk)}
        if any(metric not in values for values in found.values()):
            known = ", ".join(sorted(set().union(*found.values())))
            raise ValueError(f"live: got metric={metric!r}, expected one of {known}.")
        seen.update({num_done: values[metric] for num_done, values in found.items()})
        axes.clear()
        points = np.array(list(seen)), np.array([list(seen.values())])
        curves({metric: points}, xlabel="round", ylabel=metric, axes=axes)
        shown.update(figure)

    return draw
