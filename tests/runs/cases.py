"""Runs with everything on that a checkpoint has to hold, for the tests of this folder.

Momentum, a topology that is random in every round, batches that depend on how often a
node has drawn before, and so a memory over the nodes.
"""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import struct

import tele_jax as tele
from tests.gradient_tracking import GradientTracking

SLOTS, NODES, DIM, EPOCH = 4, 9, 3, 5
MOMENTUM = jax.tree_util.Partial(optax.trace, decay=0.9)


@struct.dataclass
class Epochs:
    """Node i has five targets, and takes them in a new order in every epoch."""

    targets: jax.Array
    counts_draws = True

    @property
    def num_nodes(self):
        return len(self.targets)

    def sample(self, key, node, count):
        del key
        stream = jax.random.fold_in(
            jax.random.fold_in(jax.random.key(5), node), count // EPOCH
        )
        order = jax.random.permutation(stream, EPOCH)
        return self.targets[node, order[count % EPOCH]]

    def loss(self, params, batch):
        return jnp.sum((params["x"] - batch) ** 2) / 2 + jnp.sum(params["y"] ** 2)

    def evaluate(self, params):
        return {"accuracy": 1 / (1 + jnp.sum(params["x"] ** 2))}


def task(num_nodes):
    return Epochs(jax.random.normal(jax.random.key(1), (num_nodes, EPOCH, DIM)))


PARAMS = {"x": jnp.ones(DIM), "y": jnp.ones((2, 2))}


def observe(slots, task):
    """A number and an array, to be kept bit by bit."""
    return {**tele.metrics.mean_model(slots, task), "first": slots["x"][0]}


def _on_vectors(slots, task):
    del task
    return {"first": slots[0]}


ALGORITHMS = ("dsgd", "teleportation", "gradient_tracking")


def chunk(name, num_rounds, resume, *, rate=0.05, seed=0):
    """A call of ``simulate`` of each kind of algorithm."""
    matching = tele.graphs.random_matching(SLOTS, jax.random.key(2))
    run = functools.partial(
        tele.simulate,
        key=jax.random.key(seed),
        num_rounds=num_rounds,
        resume=resume,
    )
    if name == "large":
        least_squares = tele.tasks.least_squares(
            jax.random.key(7), num_nodes=SLOTS, dim=4000, noise=0.5
        )
        return run(tele.DSGD(matching, rate), least_squares, jnp.ones(4000))
    if name == "gradient_tracking":
        least_squares = tele.tasks.least_squares(
            jax.random.key(7), num_nodes=SLOTS, dim=DIM, noise=0.5
        )
        return run(
            GradientTracking(matching, rate),
            least_squares,
            jnp.ones(DIM),
            observe=_on_vectors,
        )
    if name == "dsgd":
        algorithm = tele.DSGD(matching, rate, MOMENTUM)
        return run(algorithm, task(SLOTS), PARAMS, observe=observe)
    algorithm = tele.Teleportation(matching, rate, MOMENTUM)
    return run(algorithm, task(NODES), PARAMS, observe=observe)


def batch(name, num_rounds, resume):
    """Two seeds times three rates of it."""

    def one(seed, rate, resume):
        return chunk(name, num_rounds, resume, rate=rate, seed=seed)

    axis = None if resume is None else 0
    over_rates = jax.vmap(one, (None, 0, axis))
    rates = jnp.array([0.01, 0.05, 0.1])
    return jax.vmap(over_rates, (0, None, axis))(jnp.arange(2), rates, resume)
