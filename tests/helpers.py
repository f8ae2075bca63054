"""The cases every law runs on: add an algorithm or a graph here, in one line."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import optax

import tele_jax as tele
from tests.gradient_tracking import GradientTracking

Partial = jax.tree_util.Partial
MOMENTUM = Partial(optax.trace, decay=0.9)

ALGORITHMS: dict[str, Callable[..., Any]] = {
    "dsgd": tele.DSGD,
    "dsgd_momentum": Partial(tele.DSGD, direction=MOMENTUM),
    "teleportation": tele.Teleportation,
    "teleportation_momentum": Partial(tele.Teleportation, direction=MOMENTUM),
    "gradient_tracking": GradientTracking,
}
"""Name to ``(topology, learning_rate) -> algorithm``."""

GRAPHS: dict[str, Callable[[int], tele.Topology]] = {
    "ring": tele.graphs.ring,
    "chain": tele.graphs.chain,
    "star": tele.graphs.star,
    "complete": tele.graphs.complete,
    "torus": lambda k: tele.graphs.torus(*_sides(k)),
    "hypercube": lambda k: tele.graphs.hypercube(1 << (k.bit_length() - 1)),
    "exponential": tele.graphs.exponential,
    "one_peer_exponential": tele.graphs.one_peer_exponential,
    "random_tree": lambda k: tele.graphs.from_networkx(
        nx.random_labeled_tree(k, seed=k) if k > 1 else nx.empty_graph(1)
    ),
}
"""Name to a topology of k slots (the hypercube: of the power of two below)."""

SIZES = (1, 2, 5, 8, 16)


def num_nodes(algorithm: str, num_slots: int) -> int:
    """How many nodes to give an algorithm that runs on so many slots."""
    return 2 * num_slots + 3 if algorithm.startswith("teleportation") else num_slots


def quadratic(num_nodes: int, *, dim: int = 3, **settings: Any) -> Any:
    """A small task on which every node differs from every other."""
    return tele.tasks.least_squares(
        jax.random.key(7), num_nodes=num_nodes, dim=dim, **settings
    )


def whole_state(slots: Any, task: Any) -> dict[str, Any]:
    """An ``observe`` that keeps the models themselves."""
    del task
    return {"slots": slots}


@jax.jit
def one_round(algorithm: Any, state: Any, task: Any, key: Any, t: Any) -> Any:
    """The state after round t. Topologies of one shape share a program."""
    return algorithm.step(jax.random.fold_in(key, t), state, task, t)[0]


def trajectory(algorithm: Any, task: Any, num_rounds: int, seed: int = 3) -> np.ndarray:
    """The slots at the start and after every round, [num_rounds + 1, k, d]."""
    algorithm, key = jax.tree.map(jnp.asarray, (algorithm, jax.random.key(seed)))
    state = algorithm.init(jnp.ones(task.dim), task)
    slots = [state.params]
    for t in range(num_rounds):
        state = one_round(algorithm, state, task, key, jnp.int32(t))
        slots.append(state.params)
    return np.stack(slots)


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """The programs that XLA compiles inside the block."""
    compiled: list[str] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        del duration
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def _sides(number: int) -> tuple[int, int]:
    rows = max(r for r in range(1, int(number**0.5) + 1) if number % r == 0)
    return rows, number // rows
