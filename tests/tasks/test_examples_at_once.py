"""Gradients summed up over fewer examples at a time."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import tele_jax as tele
from tele_jax.tasks._blocks import mean_value_and_grad
from tele_jax.tasks.classification import classification
from tele_jax.tasks.datasets import Dataset
from tele_jax.tasks.partition import dirichlet
from tests import helpers

DIM, CLASSES = 4, 3


@struct.dataclass
class Linear:
    """Logits x W."""

    def apply(self, params, inputs):
        return inputs @ params


@struct.dataclass
class Wide:
    """A hidden layer that is wider than the inputs."""

    def apply(self, params, inputs):
        return jnp.tanh(Linear().apply(params, inputs))[:, :CLASSES]


def _dataset():
    rng = np.random.default_rng(0)

    def part(size):
        inputs = rng.normal(size=(size, DIM)).astype(np.float32)
        return inputs, rng.integers(0, CLASSES, size).astype(np.int32)

    return Dataset(*part(1100), *part(100))


def _params():
    return jax.random.normal(jax.random.key(5), (DIM, CLASSES))


@pytest.mark.parametrize("at_once", [1, 2, 4, 8])
def test_examples_at_once_change_nothing_but_the_order_of_sums(at_once):
    dataset = _dataset()
    split = dirichlet(dataset.train_labels, 5, 1.0, seed=0)
    whole = classification(dataset, split, Linear(), batch_size=8)
    parts = classification(
        dataset, split, Linear(), batch_size=8, examples_at_once=at_once
    )
    batch = whole.sample(jax.random.key(0), jnp.int32(2), None)
    expected = jax.value_and_grad(whole.loss)(_params(), batch)
    got = parts.value_and_grad(_params(), batch)
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-6)

    def simulated(task):
        algorithm = tele.Teleportation(tele.graphs.ring(3), 0.5)
        return tele.simulate(
            algorithm, task, _params(), jax.random.key(1), num_rounds=5
        )

    chex.assert_trees_all_close(
        simulated(parts), simulated(whole), rtol=1e-4, atol=1e-5
    )


def test_fewer_examples_at_once_need_less_memory():
    dataset = _dataset()
    split = dirichlet(dataset.train_labels, 5, 1.0, seed=0)
    algorithm = tele.DSGD(tele.graphs.ring(5), 0.5)

    def step(at_once):
        task = classification(
            dataset, split, Wide(), batch_size=64, examples_at_once=at_once
        )
        return tele.analysis.memory(algorithm, task, jnp.ones((DIM, 512)), "cpu").step

    assert step(1) < step(8) < step(None)


@pytest.mark.parametrize("at_once", [-1, 0, 3, 16, 2.0])
def test_examples_at_once_divide_the_batch(at_once):
    dataset = _dataset()
    split = dirichlet(dataset.train_labels, 5, 1.0, seed=0)
    with pytest.raises(ValueError, match=f"examples_at_once={at_once} with batch_size"):
        classification(dataset, split, Linear(), batch_size=8, examples_at_once=at_once)


def test_short_numbers_are_summed_in_float32():
    """A bfloat16 sum of 512 ones stops at 256."""
    params, batch = jnp.zeros((), jnp.bfloat16), jnp.ones(512, jnp.bfloat16)

    def loss(params, batch):
        return jnp.sum(params * batch)

    value, gradient = mean_value_and_grad(loss, params, batch, 1)
    chex.assert_trees_all_equal_dtypes((value, gradient), (params, params))
    assert float(gradient) == 1.0


@struct.dataclass
class OwnGradient:
    """A task that says its loss is 7 and its gradient 1."""

    task: tele.tasks.base.Task
    counts_draws = False

    @property
    def num_nodes(self):
        return self.task.num_nodes

    def sample(self, key, node, count):
        return self.task.sample(key, node, count)

    def loss(self, params, batch):
        return self.task.loss(params, batch)

    def value_and_grad(self, params, batch):
        return jnp.float32(7), jnp.ones_like(params)


@pytest.mark.parametrize("local_steps", [1, 2])
@pytest.mark.parametrize("name", ["DSGD", "Teleportation"])
def test_a_tasks_own_gradient_is_used(name, local_steps):
    task = OwnGradient(helpers.quadratic(4, noise=0.5))
    algorithm = getattr(tele, name)(
        tele.graphs.complete(4), 0.25, local_steps=local_steps
    )
    run = tele.simulate(algorithm, task, jnp.zeros(3), jax.random.key(0), num_rounds=2)
    chex.assert_trees_all_close(
        run.state.params, jnp.full((4, 3), -0.25 * 2 * local_steps)
    )
    chex.assert_trees_all_equal(run.info.loss, jnp.full(2, 7.0))
