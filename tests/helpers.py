"""The cases every law runs on: add an algorithm or a graph here, in one line."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import tele_jax as tele
from tele_jax import graphs
from tele_jax.compilations import count_compilations
from tele_jax.mixing import Repeated, matrix
from tests.gradient_tracking import GradientTracking
from tests.graphs.arithmetic import power_of_two_below, sides
from tests.graphs.families import BUILDERS as BUILDERS
from tests.graphs.families import FORMS as FORMS
from tests.graphs.families import random_tree

Partial = jax.tree_util.Partial
compilations = count_compilations
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
    "ring": graphs.ring,
    "chain": graphs.chain,
    "star": graphs.star,
    "complete": graphs.complete,
    "torus": lambda k: graphs.torus(*sides(k)),
    "hypercube": lambda k: graphs.hypercube(power_of_two_below(k)),
    "exponential": graphs.exponential,
    "one_peer_exponential": graphs.one_peer_exponential,
    "base_2": lambda k: graphs.base_graph(k, 1),
    "random_tree": random_tree,
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


def logistic(num_nodes: int, **settings: Any) -> Any:
    """A small task with data, of which a test says what it cares about."""
    defaults = {"dim": 3, "samples_per_node": 20, "heterogeneity": 3.0, "l2": 0.01}
    defaults["batch_size"] = 4
    return tele.tasks.logistic_regression(
        jax.random.key(0), num_nodes=num_nodes, **{**defaults, **settings}
    )


def four_slots(
    learning_rate: Any = 0.1, task: Any = None, params: Any = None, **settings: Any
) -> tele.Run:
    """A run of DSGD on a ring of four, of which a test says what it cares about."""
    task = quadratic(4, noise=0.5) if task is None else task
    params = jnp.ones(3) if params is None else params
    key = settings.pop("key", jax.random.key(0))
    algorithm = tele.DSGD(graphs.ring(4), learning_rate)
    return tele.simulate(algorithm, task, params, key, **settings)


def whole_state(slots: Any, task: Any) -> dict[str, Any]:
    """An ``observe`` that keeps the models themselves."""
    del task
    return {"slots": slots}


def jit_by_class(
    function: Callable[..., Any], static_argnums: tuple[int, ...] = ()
) -> Callable[..., Any]:
    """``jax.jit`` that keeps the programs of two classes apart.

    jax (0.10) takes two dataclasses with equally many leaves for equal, and by chance
    runs the program of the other.
    """

    def keyed(kinds: int, *arguments: Any) -> Any:
        del kinds
        return function(*arguments)

    program = jax.jit(keyed, static_argnums=(0, *(1 + i for i in static_argnums)))

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return program(hash(jax.tree.structure(arguments)), *arguments)

    return call


def rounds_program(run: Callable[[], Any], monkeypatch: Any) -> Any:
    """The compiled program of the rounds of a ``simulate``."""
    programs = []
    # The package's attribute of this name is the function.
    module = importlib.import_module("tele_jax.simulate")
    advanced = module._advanced_in_place

    def compiling(*given, **named):
        programs.append(advanced.lower(*given, **named).compile())
        return advanced(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_advanced_in_place", compiling)
        run()
    (program,) = programs
    return program


@jit_by_class
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


@jit_by_class
def at(topology: tele.Topology, t: Any) -> Any:
    """Round t, as one program for all topologies of one shape."""
    return topology.at(t)


@functools.partial(jit_by_class, static_argnums=(1,))
def rounds(topology: tele.Topology, num_rounds: int) -> Any:
    """The first mixings of a topology, stacked: one program for many rounds."""
    return jax.vmap(topology.at)(jnp.arange(num_rounds, dtype=jnp.int32))


def matrices(topology: tele.Topology, num_rounds: int | None = None) -> np.ndarray:
    """As ``tele.to_matrices``, which runs operation by operation what is random."""
    if isinstance(topology, tele.Periodic):
        return tele.to_matrices(topology, num_rounds)
    num_rounds = num_rounds or topology.period
    stacked = jax.device_get(rounds(topology, num_rounds))
    return np.stack([matrix(part(stacked, t)) for t in range(num_rounds)])


def part(stacked: Any, index: int) -> Any:
    """One entry of the leading axis of every leaf."""
    return jax.tree.map(lambda leaf: leaf[index], stacked)


def each_round(mixing: Any) -> list[np.ndarray]:
    """The matrices of the rounds of gossip in one step."""
    if not isinstance(mixing, Repeated):
        return [matrix(mixing)]
    times = len(jax.tree.leaves(mixing)[0])
    parts = [each_round(part(mixing.rounds, r)) for r in range(times)]
    return [one for rounds in parts for one in rounds]
