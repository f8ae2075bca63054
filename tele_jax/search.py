"""Finding the number of active nodes within 2T rounds."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from tele_jax import metrics as standard_metrics
from tele_jax import tree
from tele_jax._types import Array, Key, Metrics, Params, Scalar, Slots
from tele_jax.algorithms.base import PLAIN, Direction
from tele_jax.algorithms.teleportation import Teleportation
from tele_jax.candidates import Search, plan_waves
from tele_jax.graphs import disjoint_union
from tele_jax.run import Run
from tele_jax.simulate import Observe, simulate
from tele_jax.tasks.base import Task, evaluate
from tele_jax.topology import Topology

Score = Callable[[Params, Task], Array]
"""What a model is worth: the larger, the better; NaN never wins."""


def search(
    build: Callable[[int], Topology],
    task: Task,
    params: Params,
    key: Key,
    learning_rate: Scalar,
    *,
    num_rounds: int,
    candidates: Sequence[int] | None = None,
    direction: Direction = PLAIN,
    eval_every: int | None = None,
    observe: Observe = standard_metrics.mean_model,
    score: Score | None = None,
) -> Search:
    """Try many numbers k of active nodes at the same time: Algorithm 2.

    The candidates of a wave are blocks of one run of ``Teleportation`` on the disjoint
    union of their topologies. One draw gives all blocks distinct nodes, so that at most
    n are active at any time, and each block alone is a plain run with its k: the draw
    of its nodes is uniform without replacement. k = 1, 2, 4, … run in the first wave
    while their sum is at most n; the next power of two, or n if that is smaller, runs
    in the second: 2T rounds in all.

    A sweep over step sizes or seeds is a ``vmap``, and costs 2T rounds for each. Where
    a task counts its draws (``counts_draws``), a node's count goes on over all blocks
    that it was in. Under a ``slot_mesh`` the devices share the slots of a wave.

    Args:
      build: k to a topology of k slots, such as ``graphs.ring``.
      task: what its ``evaluate`` measures should be validation data.
      params: **one** model to start from.
      key: decides everything random; both waves use it alike.
      learning_rate: η, a scalar, or a schedule over rounds [T].
      num_rounds: T.
      candidates: increasing numbers k; by default those above. They run in the first
        wave while their sum is at most n, the others in the second.
      direction: a recipe for an optax transformation of the gradient.
      eval_every: rounds between evaluations, a divisor of T.
      observe: ``(slots, task) -> dict`` of one candidate, of shapes that do not depend
        on k.
      score: ``(model, task) -> float``, the larger the better, infinite and NaN are
        diverged; by default the accuracy that the task's ``evaluate`` gives, else
        −f(x̄), whose differences float32 loses where f* is large.

    Returns:
      A ``Search``.

    Raises:
      ValueError: the candidates do not increase, are not in 1..n, or do not fit into
        two waves; ``build`` is no function, or misses the size; T is below 1; the task
        offers nothing to score by.

    Source: Y. Takezawa, S. U. Stich, *Scalable Decentralized Learning with
    Teleportation*, ICLR 2025, arXiv 2501.15259, for the promise of 2T rounds. What the
    second wave holds, and powers of two, are our reading.

    >>> import tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=25, dim=4)
    >>> found = search(tele.graphs.ring, task, jnp.ones(4), jax.random.key(1), 0.5,
    ...                num_rounds=50)
    >>> found.waves, found.total_rounds, found.most_active
    (((1, 2, 4, 8), (16,)), 100, 16)
    >>> int(found.best_k) in found.candidates
    True
    """
    if num_rounds < 1:
        raise ValueError(f"search: got num_rounds={num_rounds}, expected at least 1.")
    waves = plan_waves(task.num_nodes, candidates)
    score = _default_score(task) if score is None else score
    if not isinstance(observe, jax.tree_util.Partial):
        observe = jax.tree_util.Partial(observe)
    runs = [
        simulate(
            Teleportation(_side_by_side(build, wave), learning_rate, direction),
            task,
            params,
            key,
            num_rounds=num_rounds,
            eval_every=eval_every,
            observe=jax.tree_util.Partial(_OfEach(wave), observe),
        )
        for wave in waves
    ]
    return _judge(waves, runs, lambda model: score(model, task))


def _side_by_side(build: Callable[[int], Topology], wave: tuple[int, ...]) -> Topology:
    """The union of the topologies of a wave."""
    if not callable(build):
        raise ValueError(
            f"search: got a {type(build).__name__} as build, expected a function of k "
            "that gives a topology: graphs.ring, not graphs.ring(4)."
        )
    blocks = [build(k) for k in wave]
    for k, block in zip(wave, blocks, strict=True):
        if block.num_slots != k:
            raise ValueError(
                f"search: build({k}) gives {block.num_slots} slots, expected {k}; pass "
                "candidates= that the family has."
            )
    return disjoint_union(*blocks)


def _judge(
    waves: tuple[tuple[int, ...], ...], runs: list[Run], score: Callable[[Params], Any]
) -> Search:
    """Score every candidate of all waves, and pick the best."""
    models = [
        tree.average(block)
        for wave, run in zip(waves, runs, strict=True)
        for block in _split(run.state.params, wave)
    ]
    scores = jnp.stack([_checked(score(model), model) for model in models])
    some, best = jnp.isfinite(scores).any(), jnp.nanargmax(scores)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    return Search(
        waves=waves,
        num_rounds=runs[0].info.messages.shape[0],
        models=stacked,
        scores=scores,
        rounds=runs[0].rounds,
        metrics=jax.tree.map(_by_candidate, *(run.metrics for run in runs)),
        messages=jnp.stack([run.info.messages for run in runs]),
        best_k=jnp.where(some, jnp.asarray(sum(waves, ()), jnp.int32)[best], 0),
        best_model=jax.tree.map(lambda m: jnp.where(some, m[best], jnp.nan), stacked),
    )


def _by_candidate(*waves: Array) -> Array:
    """[c, e, ...] from the [e, c, ...] of each wave."""
    return jnp.moveaxis(jnp.concatenate(waves, axis=1), 1, 0)


def _checked(score: Any, model: Params) -> Array:
    """The score; NaN if it is not finite, or the model is not: NaN has an accuracy."""
    if jnp.shape(score) != ():
        raise ValueError(
            f"search: the score of a model has the shape {jnp.shape(score)}, expected "
            "one number."
        )
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(model)]
    good = jnp.stack(finite).all() & jnp.isfinite(score)
    return jnp.where(good, jnp.asarray(score, float), jnp.nan)


@dataclasses.dataclass(frozen=True)
class _OfEach:
    """Observes every block of slots by itself; metrics get an axis [c]."""

    sizes: tuple[int, ...]

    def __call__(self, observe: Observe, slots: Slots, task: Task) -> Metrics:
        """``observe`` of each block, stacked."""
        measured = [observe(block, task) for block in _split(slots, self.sizes)]
        return jax.tree.map(lambda *values: jnp.stack(values), *measured)


def _split(slots: Slots, sizes: Sequence[int]) -> list[Slots]:
    """The blocks of the slots, in turn."""
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]

    def part(end: int, size: int) -> Any:
        return jax.tree.map(lambda leaf: leaf[end - size : end], slots)

    return [part(end, size) for end, size in zip(ends, sizes, strict=True)]


def _default_score(task: Task) -> Score:
    if hasattr(task, "evaluate"):
        return _accuracy
    if hasattr(task, "objective"):
        return _negative_loss
    raise ValueError(
        f"search: {type(task).__name__} offers neither evaluate nor objective, "
        "expected a way to compare models; pass score=."
    )


def _accuracy(model: Params, task: Task) -> Array:
    measured = evaluate(task, model)
    if "accuracy" not in measured:
        raise ValueError(
            f"search: the task measures {', '.join(measured) or 'nothing'}, expected "
            "accuracy among it; pass score=."
        )
    return measured["accuracy"]


def _negative_loss(model: Params, task: Any) -> Array:
    return -task.objective(model)
