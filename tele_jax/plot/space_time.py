"""Who does what when: nodes on one axis, simulated time on the other."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes

from tele_jax._types import Key
from tele_jax.mixing import matrix
from tele_jax.network.checks import check_network
from tele_jax.network.still import Still
from tele_jax.network.timed import Timed
from tele_jax.plot import looks

_MAX_NODES = 200
_TOKENS = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]


class Trace(NamedTuple):
    """A run, moment by moment; seconds since its beginning, float64."""

    nodes: np.ndarray
    """int[rounds, k]: who steps slot a; −1 for nobody."""
    start: np.ndarray
    """[rounds, k]: when the step begins."""
    computed: np.ndarray
    """[rounds, k]: when it ends."""
    done: np.ndarray
    """[rounds, k]: when gossip has ended."""
    source: np.ndarray
    """int[rounds, k]: who had the slot before; −1 for nobody."""
    lost: np.ndarray
    """bool[rounds, k]: slots whose node died before the round."""
    gossip: list[np.ndarray]
    """Of every round the models sent after the steps, (sender, receiver), int[e, 2]."""
    pulls: list[np.ndarray]
    """The same of the models averaged on the way to the next holders."""


def trace(timed: Timed, key: Key, *, num_nodes: int, num_rounds: int) -> Trace:
    """Follow the first rounds of a run with the same key, whatever it learns.

    Models weigh 4 bytes here, or what the network's ``model_bytes`` says.

    Args:
      timed: the algorithm on its network.
      key: of the run.
      num_nodes: n.
      num_rounds: how many, at least 1.

    Raises:
      ValueError: there are no rounds, more than 200 nodes, or no clocks.

    >>> import tele_jax as tele
    >>> net = tele.Network(tele.network.same(0.5), tele.network.constant(1.0))
    >>> ring = tele.Timed(tele.DSGD(tele.graphs.ring(3), 0.1), net)
    >>> trace(ring, jax.random.key(0), num_nodes=3, num_rounds=2).done.tolist()
    [[1.5, 1.5, 1.5], [3.0, 3.0, 3.0]]
    """
    _check(timed, num_nodes, num_rounds)
    task = Still(num_nodes)
    state, now = timed.init(jnp.float32(0.0), task), 0.0
    rows: list[tuple[np.ndarray, ...]] = []
    gossip, pulls = [], []
    for t in range(num_rounds):
        round_key = jax.random.fold_in(key, t)
        inner, _ = timed.algorithm.step(round_key, state.inner, task, jnp.int32(t))
        holders = getattr(state.inner, "nodes", None)
        state, times = timed.time(round_key, state, inner, jnp.int32(t))
        traffic = times.traffic
        source = traffic.nodes if traffic.source is None else traffic.source
        start, computed, done = (
            now + np.asarray(part, np.float64) for part in times[1:4]
        )
        if rows:  # who rests is where it was
            done = np.where(np.isfinite(done), done, rows[-1][3])
        had = np.asarray(source if holders is None else holders)
        died = (had >= 0) & (np.asarray(source) != had)
        nodes = np.asarray(traffic.nodes)
        if rows and traffic.source is None:  # models stay at their nodes
            had = rows[-1][0]
            died = (nodes < 0) & (had >= 0)
        rows.append((nodes, start, computed, done, had, died))
        gossip.append(_pairs(traffic.gossip))
        pulls.append(_pairs(traffic.pull if t else None))
        now += float(times.latest)
    columns = [np.stack(column) for column in zip(*rows, strict=True)]
    nodes, start, computed, done, had, died = columns
    return Trace(nodes, start, computed, done, had, died, gossip, pulls)


def _check(timed: Timed, num_nodes: int, num_rounds: int) -> None:
    """Refuse what has no clocks, and more than can be told apart."""
    if not isinstance(timed, Timed):
        raise ValueError(
            f"trace: got {type(timed).__name__}, expected Timed(algorithm, network)."
        )
    if num_rounds < 1 or not 1 <= num_nodes <= _MAX_NODES:
        raise ValueError(
            f"trace: got num_rounds={num_rounds} and num_nodes={num_nodes}, expected "
            f"at least 1 round and 1 to {_MAX_NODES} nodes: more cannot be told apart."
        )
    check_network(timed, num_nodes)


def _pairs(mixing: Any) -> np.ndarray:
    """(sender, receiver) of what a round of gossip sends."""
    if mixing is None:
        return np.zeros((0, 2), int)
    weights = matrix(mixing)
    np.fill_diagonal(weights, 0.0)
    return np.argwhere(weights)


def space_time(
    traced: Trace, *, until: float | None = None, axes: Axes | None = None
) -> Axes:
    """Nodes against simulated time: steps, hops of tokens, gossip, lost tokens.

    A bar is a local step in the colour of its token, an arrow a token that moves to its
    next node, a grey line a model that is gossiped, and a cross a node that died, with
    its token if it held one.

    Args:
      traced: what ``trace`` gives.
      until: draw what has begun by then, in seconds; all by default.
      axes: where to draw; new ones by default.

    >>> import tele_jax as tele
    >>> net = tele.Network(tele.network.same(0.5), tele.network.constant(1.0))
    >>> walk = tele.Timed(tele.Teleportation(tele.graphs.ring(2), 0.1), net)
    >>> traced = trace(walk, jax.random.key(0), num_nodes=5, num_rounds=3)
    >>> axes = space_time(traced)
    >>> len(axes.patches) >= 6, axes.get_xlabel()  # a bar for every step
    (True, 'simulated seconds')
    >>> plt.close(axes.figure)
    """
    if not isinstance(traced, Trace):
        raise ValueError(
            f"space_time: got {type(traced).__name__}, expected what trace(timed, key, "
            "…) gives."
        )
    if axes is None:
        _, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    end = np.where(np.isfinite(traced.done), traced.done, 0.0).max()
    until = end if until is None else until
    for t, nodes in enumerate(traced.nodes):
        for a in range(len(nodes)):
            _draw_slot(axes, traced, t, a, until)
        for b, a in traced.gossip[t]:
            _draw_line(
                axes,
                (traced.computed[t, b], nodes[b]),
                (traced.done[t, a], nodes[a]),
                until,
            )
        for b, a in traced.pulls[t]:
            left = traced.done[t - 1, b], traced.source[t, b]
            _draw_line(axes, left, (traced.start[t, a], nodes[a]), until)
    num_nodes = int(max(traced.nodes.max(), traced.source.max())) + 1
    axes.set(
        xlim=(0, 1.02 * end),
        ylim=(-0.7, num_nodes - 0.3),
        xlabel="simulated seconds",
        ylabel="node",
    )
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _reached(
    begin: tuple[float, int], end: tuple[float, int], until: float
) -> tuple[float, float]:
    """Time and place of something on its way."""
    part = (until - begin[0]) / max(end[0] - begin[0], 1e-12)
    part = float(np.clip(part, 0, 1))
    return begin[0] + (end[0] - begin[0]) * part, begin[1] + (end[1] - begin[1]) * part


def _draw_line(
    axes: Axes, begin: tuple[float, int], end: tuple[float, int], until: float
) -> None:
    """A model that is averaged, as far as it has come."""
    if begin[0] > until or begin[1] < 0 or end[1] < 0 or begin[1] == end[1]:
        return
    time, place = _reached(begin, end, until)
    axes.plot([begin[0], time], [begin[1], place], color="0.6", lw=0.6, zorder=1)


def _draw_slot(axes: Axes, traced: Trace, t: int, a: int, until: float) -> None:
    """How a token comes to its node, and what that does with it."""
    colour = _TOKENS[a % len(_TOKENS)]
    node, was = int(traced.nodes[t, a]), int(traced.source[t, a])
    begins, ends = traced.start[t, a], traced.computed[t, a]
    if t and was >= 0 and (left := traced.done[t - 1, a]) <= until:
        if traced.lost[t, a]:
            axes.plot(
                left,
                was,
                marker="x",
                color=mpl.rcParams["text.color"],
                markersize=8,
                zorder=4,
            )
        elif node >= 0 and node != was:
            tip = _reached((left, was), (begins, node), until)
            style = {"arrowstyle": "->", "color": colour, "lw": 1.2}
            axes.annotate("", tip, (left, was), arrowprops=style)
    if node >= 0 and begins <= until:
        width = min(ends, until) - begins
        axes.barh(node, width, left=begins, height=0.55, color=colour, zorder=3)


def animate(traced: Trace, *, frames: int = 60) -> FuncAnimation:
    """``space_time`` as it unfolds.

    Save it with ``animation.save("tokens.gif", writer="pillow", fps=10)``, or show it
    in a notebook with ``IPython.display.HTML(animation.to_jshtml())``.

    Args:
      traced: what ``trace`` gives.
      frames: how many.

    >>> import tele_jax as tele
    >>> net = tele.Network(tele.network.same(0.5), tele.network.constant(1.0))
    >>> walk = tele.Timed(tele.Teleportation(tele.graphs.ring(2), 0.1), net)
    >>> traced = trace(walk, jax.random.key(0), num_nodes=5, num_rounds=3)
    >>> animation = animate(traced, frames=2)
    >>> len(animation.to_jshtml()) > 0
    True
    >>> plt.close("all")
    """
    if frames < 1:
        raise ValueError(f"animate: got frames={frames}, expected at least 1.")
    figure, axes = plt.subplots(figsize=(7, 3.2), dpi=80, layout="constrained")
    end = np.where(np.isfinite(traced.done), traced.done, 0.0).max()

    def draw(frame: int) -> list[Any]:
        axes.clear()
        space_time(traced, until=end * (frame + 1) / frames, axes=axes)
        return []

    return FuncAnimation(figure, looks.kept(draw), frames=frames, blit=False)
