"""Metrics against float64 NumPy: of the mean model, of the slots, of the network."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

import tele_jax as tele
from tele_jax import metrics
from tele_jax.algorithms.base import Info
from tests import helpers


@struct.dataclass
class Bare:
    """The least a task may be: no objective, no gradient, nothing to evaluate."""

    target: jax.Array

    @property
    def num_nodes(self):
        return self.target.shape[0]

    def sample(self, key, node, count):
        del key, count
        return self.target[node]

    def loss(self, params, batch):
        return jnp.sum((params - batch) ** 2)


@struct.dataclass
class Measured(Bare):
    """It offers measurements of one model, and no objective."""

    def evaluate(self, params):
        return {"accuracy": params[0], "size": jnp.sum(params**2)}


def _slots():
    return jax.random.normal(jax.random.key(0), (5, 3))


def test_of_a_quadratic():
    task = helpers.quadratic(7)
    got = metrics.standard(_slots(), task)
    assert set(got) == {"loss", "grad_norm_sq", "consensus_distance"}
    chex.assert_shape(list(got.values()), ())
    slots, scale, target = (
        np.asarray(a, float) for a in (_slots(), task.scale[:, None], task.target)
    )
    mean = slots.mean(axis=0)
    residual = scale * mean - target
    gradient = (scale * residual).mean(axis=0)
    expected = {
        "loss": 0.5 * (residual**2).sum() / 7,
        "grad_norm_sq": gradient @ gradient,
        "consensus_distance": ((slots - mean) ** 2).sum() / 5,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5)


def test_of_a_task_that_offers_nothing():
    assert set(metrics.standard(_slots(), Bare(jnp.ones((4, 3))))) == {
        "consensus_distance"
    }
    assert metrics.mean_model(_slots(), Bare(jnp.ones((4, 3)))) == {}
    assert metrics.each_slot(_slots(), helpers.quadratic(4)) == {}


def test_of_a_task_that_evaluates():
    task = Measured(jnp.ones((4, 3)))
    slots = np.asarray(_slots(), float)
    mean = slots.mean(axis=0)
    of_slots = {"accuracy": slots[:, 0], "size": (slots**2).sum(axis=1)}
    expected = {
        "accuracy": mean[0],
        "size": mean @ mean,
        "consensus_distance": ((slots - mean) ** 2).sum() / 5,
    }
    for name, values in of_slots.items():
        expected[f"slot_{name}_mean"] = values.mean()
        expected[f"slot_{name}_min"] = values.min()
        expected[f"slot_{name}_max"] = values.max()
    got = metrics.standard(_slots(), task)
    assert set(got) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5)


def test_a_run_reports_only_what_the_task_offers():
    task = Bare(jnp.ones((4, 3)))
    algorithm = tele.DSGD(tele.graphs.ring(4), 0.1)
    run = tele.simulate(algorithm, task, jnp.zeros(3), jax.random.key(0), num_rounds=3)
    assert set(run.metrics) == {"consensus_distance"}
    chex.assert_shape(run.metrics["consensus_distance"], (2,))


def test_messages_sent_add_up_in_64_bits():
    sent = np.array([[2**31 - 1, 2**31 - 1, 5], [1, 2, 3]], np.int32)
    total = metrics.messages_sent(Info(np.zeros((2, 3)), sent))
    assert total.dtype == np.int64
    big = 2**31 - 1
    assert total.tolist() == [[big, 2 * big, 2 * big + 5], [1, 3, 6]]


def test_bytes_sent_is_exact_beyond_every_32_and_53_bits():
    messages = jnp.full(3, 2**31 - 1, jnp.int32)
    params = jax.eval_shape(lambda: {"w": jnp.zeros((2**12, 3)), "b": jnp.zeros(5)})
    sent = metrics.bytes_sent(Info(jnp.zeros(3), messages), params)
    assert type(sent) is int
    assert sent == 3 * (2**31 - 1) * 4 * (3 * 2**12 + 5)
    huge = jax.eval_shape(lambda: jnp.zeros((2**30, 2**10)))
    assert metrics.bytes_sent(Info(0.0, messages), huge) == 3 * (2**31 - 1) * 2**42
