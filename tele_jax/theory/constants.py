"""What the rates depend on: L, r₀, σ² and ζ², exact or sampled."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tele_jax import tree
from tele_jax._types import Array, Key, Params
from tele_jax.draw import draw_active
from tele_jax.tasks.base import Task, counts_draws
from tele_jax.tasks.quadratic import Quadratic

_POWER_STEPS = 20
"""Products with a Hessian to find its largest eigenvalue."""
_AT_ONCE = 16
"""Samples whose gradients are in memory together."""


class Constants(NamedTuple):
    """A task and a start, as the rates see them."""

    smoothness: float
    """L: ‖∇f_i(x) − ∇f_i(y)‖ ≤ L ‖x − y‖."""
    gap: float
    """r₀ = f(x⁰) − f*."""
    sigma2: float
    """σ² ≥ E‖∇F_i(x; ξ) − ∇f_i(x)‖²."""
    zeta2: float
    """ζ² ≥ (1/n) Σ_i ‖∇f_i(x) − ∇f(x)‖²."""


class Sampled(NamedTuple):
    """Constants estimated from samples."""

    values: Constants
    errors: Constants
    """Standard errors of the four values."""


def exact_constants(task: Task, params: Params) -> Constants:
    """The constants of a quadratic task that starts from ``params``.

    ζ² is that at the optimum x*: where the Hessians of the nodes differ, the gradients
    differ without bound far from it.

    Args:
      task: from ``tasks.least_squares``, ``equal_hessians`` or ``quadratic``.
      params: x⁰, [d].

    Raises:
      ValueError: the task is of another kind, or the params do not fit it.

    >>> import tele_jax as tele
    >>> task = tele.tasks.quadratic(jnp.ones(2), jnp.array([[0.0], [2.0]]), noise=3.0)
    >>> exact_constants(task, jnp.array([3.0]))  # f_i = ½ (x − b_i)², x* = 1
    Constants(smoothness=1.0, gap=2.0, sigma2=9.0, zeta2=1.0)
    """
    if not isinstance(task, Quadratic):
        raise ValueError(
            f"exact_constants: got a {type(task).__name__}, expected a quadratic task; "
            "use sampled_constants."
        )
    if jnp.shape(params) != (task.dim,):
        raise ValueError(
            f"exact_constants: got params of shape {jnp.shape(params)}, expected "
            f"({task.dim},)."
        )
    scale = np.asarray(task.scale, np.float64)[:, None]
    best = np.asarray(task.optimum(), np.float64)
    gradients = scale * (scale * best - np.asarray(task.target, np.float64))
    # f(x⁰) − f* without the difference of two large numbers.
    distance = np.asarray(params, np.float64) - best
    return Constants(
        smoothness=float(np.max(scale**2)),
        gap=float(np.mean(scale**2) * np.sum(distance**2) / 2),
        sigma2=float(task.noise) ** 2,
        zeta2=float(np.mean(np.sum(gradients**2, axis=1))),
    )


def sampled_constants(
    task: Task, params: Params, key: Key, *, num_samples: int = 256, least: float = 0.0
) -> Sampled:
    """The constants of any task at ``params``, estimated from random pairs of nodes.

    With two batches ξ, ξ′ of two distinct nodes i and j: σ² is the mean of
    ½‖∇F_i(x; ξ) − ∇F_i(x; ξ′)‖², and ζ² that of (n−1)/(2n) ⟨∇F_i(x; ξ) − ∇F_j(x; ξ),
    ∇F_i(x; ξ′) − ∇F_j(x; ξ′)⟩, both without bias, but for a ζ² below 0, which is given
    as 0. L is the mean of the largest curvature of one batch's loss, the largest
    absolute eigenvalue of ∇²F_i(x; ξ), and below the largest of all nodes. All hold at
    x⁰ alone: along a run they change, and no bound for all x is claimed.

    Args:
      task: any.
      params: x⁰.
      key: decides the samples.
      num_samples: pairs of nodes, at least 2.
      least: f*; r₀ = f(x⁰) − f*. The default makes it an upper bound for losses that
        are never negative.

    Raises:
      ValueError: ``num_samples`` is below 2, or the task counts its draws, so that two
        batches of a node are not independent.

    >>> import tele_jax as tele
    >>> task = tele.tasks.equal_hessians(
    ...     jax.random.key(0), num_nodes=16, dim=4, heterogeneity=2.0, noise=1.0)
    >>> values, errors = sampled_constants(task, jnp.ones(4), jax.random.key(1))
    >>> abs(values.zeta2 - 4) < 5 * errors.zeta2, abs(values.sigma2 - 1) < 0.2
    (True, True)
    """
    if num_samples < 2:
        raise ValueError(
            f"sampled_constants: got num_samples={num_samples}, expected at least 2."
        )

    if counts_draws(task):
        raise ValueError(
            f"sampled_constants: {type(task).__name__} counts its draws, expected "
            "batches that are independent; draw them with replacement."
        )

    def one(key: Key) -> tuple[Array, ...]:
        return _sample(task, params, key)

    keys = jax.random.split(key, num_samples)
    samples = jax.lax.map(one, keys, batch_size=min(_AT_ONCE, num_samples))
    columns = [np.asarray(column, np.float64) for column in samples]
    values = Constants(*(float(column.mean()) for column in columns))
    errors = Constants(
        *(float(column.std(ddof=1) / num_samples**0.5) for column in columns)
    )
    if (objective := getattr(task, "objective", None)) is not None:
        values = values._replace(gap=float(objective(params)))
        errors = errors._replace(gap=0.0)
    # Without bias the estimate of a small ζ² may be negative, which no rate takes.
    zeta2, gap = max(0.0, values.zeta2), values.gap - least
    return Sampled(values._replace(zeta2=zeta2, gap=gap), errors)


def _sample(task: Task, params: Params, key: Key) -> tuple[Array, ...]:
    """One sample of each constant in turn; of r₀, f(x⁰)."""
    nodes_key, start_key, *batch_keys = jax.random.split(key, 6)
    pair = draw_active(nodes_key, task.num_nodes, min(2, task.num_nodes))

    def loss_of(key: Key, node: Array) -> Any:
        batch = task.sample(key, node, None)
        return lambda x: task.loss(x, batch)

    # Node i, then node j (the same where there is no other), two batches of each.
    losses = [
        loss_of(key, node)
        for key, node in zip(
            batch_keys, (pair[0], pair[0], pair[-1], pair[-1]), strict=True
        )
    ]
    first, second, other, other_second = (jax.grad(loss)(params) for loss in losses)
    spread = _inner(_minus(first, other), _minus(second, other_second)) / 2
    share = (task.num_nodes - 1) / task.num_nodes
    return (
        _curvature(losses[0], params, start_key),
        losses[0](params),
        tree.squared_norm(_minus(first, second)) / 2,
        share * spread,
    )


def _curvature(loss: Any, params: Params, key: Key) -> Array:
    """|λ_max| of the Hessian, by the power iteration."""
    gradient = jax.grad(loss)

    def step(vector: Params, _: None) -> tuple[Params, Array]:
        _, image = jax.jvp(gradient, (params,), (vector,))
        norm = jnp.sqrt(tree.squared_norm(image))
        return jax.tree.map(lambda leaf: leaf / jnp.maximum(norm, 1e-30), image), norm

    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        jax.random.normal(key, jnp.shape(leaf), jnp.result_type(leaf))
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    start = jax.tree.unflatten(structure, drawn)
    _, norms = jax.lax.scan(step, start, length=_POWER_STEPS)
    return norms[-1]


def _minus(x: Params, y: Params) -> Params:
    return jax.tree.map(jnp.subtract, x, y)


def _inner(x: Params, y: Params) -> Array:
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), x, y)
    return jnp.sum(jnp.stack(jax.tree.leaves(products)))


def check_constants(name: str, constants: Constants) -> None:
    """Refuse negative constants and NaN."""
    for what, number in constants._asdict().items():
        if not number >= 0:
            raise ValueError(
                f"{name}: got {what}={number}, expected a number that is not negative."
            )
