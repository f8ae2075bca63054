"""Which node holds which token when: as paths, and as an animation."""

from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tele_jax._types import Key
from tele_jax.algorithms.base import Algorithm
from tele_jax.network.checks import check_network
from tele_jax.network.still import Still
from tele_jax.network.timed import Timed
from tele_jax.plot import looks
from tele_jax.plot.positions import circle_positions
from tele_jax.topology import Topology, to_matrices

_MAX_NODES = 200


def holders(
    algorithm: Algorithm, key: Key, *, num_nodes: int, num_rounds: int
) -> np.ndarray:
    """The nodes that step the slots of a run with this key, round by round.

    It does not depend on what is learnt, so nothing is.

    Args:
      algorithm: of the run; ``Timed`` or not, it is the same.
      key: of the run.
      num_nodes: n.
      num_rounds: how many, at least 1.

    Returns:
      int[num_rounds, k]; −1: nobody holds the slot.

    Raises:
      ValueError: there are no rounds, or the algorithm does not fit the nodes.

    >>> import tele_jax as tele
    >>> walk = tele.Teleportation(tele.graphs.ring(2), 0.1)
    >>> holders(walk, jax.random.key(0), num_nodes=9, num_rounds=4).shape
    (4, 2)
    """
    if num_rounds < 1:
        raise ValueError(f"holders: got num_rounds={num_rounds}, expected at least 1.")
    check_network(algorithm, num_nodes)
    if isinstance(algorithm, Timed):
        algorithm = algorithm.algorithm
    task = Still(num_nodes)
    state = algorithm.init(jnp.float32(0.0), task)

    def one_round(state: Any, t: Any) -> tuple[Any, Any]:
        state, _ = algorithm.step(jax.random.fold_in(key, t), state, task, t)
        slots = len(jax.tree.leaves(state.params)[0])
        return state, getattr(state, "nodes", jnp.arange(slots))

    _, nodes = jax.lax.scan(one_round, state, jnp.arange(num_rounds))
    return np.asarray(nodes)


def token_paths(held: np.ndarray, *, axes: Axes | None = None) -> Axes:
    """Nodes against rounds, one line for every token; a gap where nobody holds it.

    Args:
      held: int[num_rounds, k], as ``holders`` gives it.
      axes: where to draw; new ones by default.

    Returns:
      The axes.

    Raises:
      ValueError: there is nothing to draw.

    >>> axes = token_paths(np.array([[0, 3], [2, 1], [4, 0]]))
    >>> [line.get_ydata().tolist() for line in axes.lines]
    [[0.0, 2.0, 4.0], [3.0, 1.0, 0.0]]
    >>> plt.close(axes.figure)
    """
    held = _checked("token_paths", held)
    axes = looks.new_axes(axes)
    rounds = np.arange(len(held))
    for token, colour in enumerate(_colours(held.shape[1])):
        axes.plot(
            rounds,
            np.where(held[:, token] < 0, np.nan, held[:, token]),
            "o-",
            color=colour,
            linewidth=0.6 * looks.line_width(),
            markersize=4,
            label=f"token {token}",
        )
    axes.set(xlabel="round", ylabel="node", ylim=(-0.7, held.max() + 0.7))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    looks.tidy(axes)
    return axes


def animate_tokens(
    held: np.ndarray,
    topology: Topology,
    *,
    num_nodes: int,
    frames_per_round: int = 8,
) -> FuncAnimation:
    """Nodes on a circle: tokens move to their next nodes, then gossip.

    Show it in a notebook with ``IPython.display.HTML(animation.to_jshtml())``, or save
    it with ``animation.save("tokens.gif", writer="pillow", fps=12)``.

    Args:
      held: int[num_rounds, k], as ``holders`` gives it.
      topology: of the k tokens; a line joins those that gossip.
      num_nodes: n, at most 200.
      frames_per_round: two thirds of them for the way, the rest for gossip.

    Raises:
      ValueError: there is nothing to draw, there are more than 200 nodes, or the
        topology has another size.

    >>> import tele_jax as tele
    >>> held = np.array([[0, 3], [2, 1], [4, 0]])
    >>> film = animate_tokens(held, tele.graphs.ring(2), num_nodes=5,
    ...                       frames_per_round=3)
    >>> film.to_jshtml().count("data:image/png")
    9
    >>> plt.close("all")
    """
    held = _checked("animate_tokens", held)
    if not (held.min() >= 0 and held.max() < num_nodes <= _MAX_NODES):
        raise ValueError(
            f"animate_tokens: got num_nodes={num_nodes} and tokens at nodes "
            f"{held.min()} to {held.max()}, expected nodes from 0 to num_nodes − 1, "
            f"and at most {_MAX_NODES} of them."
        )
    if topology.num_slots != held.shape[1]:
        raise ValueError(
            f"animate_tokens: got a topology of {topology.num_slots} slots, expected "
            f"{held.shape[1]}, one for every token."
        )
    if frames_per_round < 1:
        raise ValueError(
            f"animate_tokens: got frames_per_round={frames_per_round}, expected at "
            "least 1."
        )
    weights, places = to_matrices(topology, len(held)), circle_positions(num_nodes)
    figure, axes = plt.subplots(figsize=(4, 4), dpi=80, layout="constrained")

    def draw(frame: int) -> list[Any]:
        t, part = divmod(frame, frames_per_round)
        share = min(1.0, (part + 1) / max(1, 2 * frames_per_round // 3))
        axes.clear()
        _draw_moment(axes, places, held, weights, t, share)
        return []

    frames = frames_per_round * len(held)
    return FuncAnimation(figure, looks.kept(draw), frames=frames, blit=False)


def _draw_moment(
    axes: Axes,
    places: np.ndarray,
    held: np.ndarray,
    weights: np.ndarray,
    t: int,
    share: float,
) -> None:
    """Tokens that have come so far on their way to the nodes of round t."""
    axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal")
    axes.axis("off")
    axes.set_title(f"round {t}", fontsize=10)
    x, y = places.T
    axes.scatter(x, y, s=60, facecolors="none", edgecolors="#999999", zorder=2)
    before = places[held[max(t - 1, 0)]]
    at = (1 - share) * before + share * places[held[t]]
    if share == 1.0:
        _draw_gossip(axes, at, weights[t])
    axes.scatter(at[:, 0], at[:, 1], s=60, c=_colours(held.shape[1]), zorder=3)


def _draw_gossip(axes: Axes, at: np.ndarray, weights: np.ndarray) -> None:
    for b, a in np.argwhere(weights):
        if a != b:
            axes.plot(*at[[b, a]].T, color="#5b83b5", linewidth=1, zorder=1)


def _colours(num_tokens: int) -> list[Any]:
    """One for every token; after ten they come again."""
    palette = plt.get_cmap("tab10")
    return [palette(token % 10) for token in range(num_tokens)]


def _checked(who: str, held: np.ndarray) -> np.ndarray:
    held = np.asarray(held)
    if held.ndim != 2 or not held.size:
        raise ValueError(
            f"{who}: got holders of shape {held.shape}, expected nodes "
            "[num_rounds, k], as holders(algorithm, key, …) gives them."
        )
    return held
