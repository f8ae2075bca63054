"""The algorithms in float64 NumPy, one loop over nodes at a time, from the papers.

They share with the package the randomness (which node is drawn, which noise) and the
mixing matrices, and nothing else.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from tele_jax.draw import draw_active

Gradient = Callable[[int, int, np.ndarray], np.ndarray]
"""(round, node, x) -> the gradient of F_node at x with this round's noise."""


def gradients(task: Any, seed: int) -> Gradient:
    """∇F_i(x; ξ) = a_i (a_i x − b_i) + ξ, with the noise of the package's keys."""
    scale, target = (np.asarray(a, np.float64) for a in (task.scale, task.target))

    @functools.cache
    def noise(t: int) -> np.ndarray:
        data_key, _ = jax.random.split(jax.random.fold_in(jax.random.key(seed), t))
        return np.asarray(_noise_of_all(task, data_key), np.float64)

    def gradient(t: int, node: int, x: np.ndarray) -> np.ndarray:
        return scale[node] * (scale[node] * x - target[node]) + noise(t)[node]

    return gradient


@jax.jit
def _noise_of_all(task: Any, data_key: jax.Array) -> jax.Array:
    def noise(node: jax.Array) -> jax.Array:
        return task.sample(jax.random.fold_in(data_key, node), node, None)[2]

    return jax.vmap(noise)(jax.numpy.arange(task.num_nodes))


_draw_active = jax.jit(draw_active, static_argnums=(1, 2))


def draws(seed: int, num_nodes: int, num_slots: int) -> Callable[[int], list[int]]:
    """The active nodes of every round."""

    def nodes(t: int) -> list[int]:
        _, network = jax.random.split(jax.random.fold_in(jax.random.key(seed), t))
        return np.asarray(_draw_active(network, num_nodes, num_slots)).tolist()

    return nodes


def gossip(matrix: np.ndarray, models: list[np.ndarray]) -> list[np.ndarray]:
    """x_i ← Σ_j W_ji x_j (X ← X W, the models as columns of X)."""
    size = len(models)
    return [sum(matrix[j, i] * models[j] for j in range(size)) for i in range(size)]


def dsgd(
    matrices: np.ndarray,
    gradient: Gradient,
    start: np.ndarray,
    learning_rate: float,
    num_rounds: int,
    momentum: float = 0.0,
) -> np.ndarray:
    """Decentralized SGD; momentum is never gossiped. [num_rounds + 1, n, d]"""
    size = matrices.shape[1]
    models = [start.copy() for _ in range(size)]
    velocity = [np.zeros_like(start) for _ in range(size)]
    history = [models]
    for t in range(num_rounds):
        half = []
        for i in range(size):
            velocity[i] = momentum * velocity[i] + gradient(t, i, models[i])
            half.append(models[i] - learning_rate * velocity[i])
        models = gossip(matrices[t % len(matrices)], half)
        history.append(models)
    return np.array(history)


def teleportation(
    matrices: np.ndarray,
    gradient: Gradient,
    nodes: Callable[[int], list[int]],
    start: np.ndarray,
    learning_rate: float,
    num_rounds: int,
    momentum: float = 0.0,
) -> np.ndarray:
    """Algorithm 1 as written, every node with its own mailbox. [num_rounds + 1, k, d]

    All n models are resident; the newly active fetch from the previously active, step,
    gossip, and the result is scattered back. What a node that was not active before
    holds is never read, so it is filled with NaN.
    """
    size = matrices.shape[1]
    resident: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    fresh = (start, np.zeros_like(start))
    history = [[start.copy() for _ in range(size)]]
    previous: list[int] = []
    for t in range(num_rounds):
        active = nodes(t)
        fetched = {
            node: resident[previous[token]] if previous else fresh
            for token, node in enumerate(active)
        }
        nan = np.full_like(start, np.nan)
        resident = {node: (nan, nan) for node in resident}
        half = []
        for node in active:
            model, velocity = fetched[node]
            velocity = momentum * velocity + gradient(t, node, model)
            fetched[node] = (model, velocity)
            half.append(model - learning_rate * velocity)
        mixed = gossip(matrices[t % len(matrices)], half)
        for token, node in enumerate(active):
            resident[node] = (mixed[token], fetched[node][1])
        history.append(mixed)
        previous = active
    return np.array(history)


def gradient_tracking(
    matrices: np.ndarray,
    gradient: Gradient,
    start: np.ndarray,
    learning_rate: float,
    num_rounds: int,
) -> np.ndarray:
    """y ← W y + ∇F(xᵗ) − ∇F(xᵗ⁻¹), then x ← W (x − η y). [num_rounds + 1, n, d]"""
    size = matrices.shape[1]
    models = [start.copy() for _ in range(size)]
    tracker = [np.zeros_like(start) for _ in range(size)]
    last = [np.zeros_like(start) for _ in range(size)]
    history = [models]
    for t in range(num_rounds):
        matrix = matrices[t % len(matrices)]
        now = [gradient(t, i, models[i]) for i in range(size)]
        mixed = gossip(matrix, tracker)
        tracker = [mixed[i] + now[i] - last[i] for i in range(size)]
        half = [models[i] - learning_rate * tracker[i] for i in range(size)]
        models, last = gossip(matrix, half), now
        history.append(models)
    return np.array(history)


def trajectory(
    name: str,
    topology: np.ndarray,
    task: Any,
    num_rounds: int,
    seed: int,
    learning_rate: float,
) -> np.ndarray:
    """The oracle of an algorithm of ``tests.helpers.ALGORITHMS``."""
    gradient = gradients(task, seed)
    start = np.ones(task.dim)
    momentum = {"momentum": 0.9} if name.endswith("_momentum") else {}
    if name == "gradient_tracking":
        return gradient_tracking(topology, gradient, start, learning_rate, num_rounds)
    if name.startswith("dsgd"):
        return dsgd(topology, gradient, start, learning_rate, num_rounds, **momentum)
    nodes = draws(seed, task.num_nodes, topology.shape[1])
    return teleportation(
        topology, gradient, nodes, start, learning_rate, num_rounds, **momentum
    )
