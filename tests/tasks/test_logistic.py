"""Logistic regression against float64 loops and the claims of its docstring."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tele_jax.tasks.base import Task
from tele_jax.tasks.logistic import logistic_regression

SIZES = {"num_nodes": 5, "dim": 4, "samples_per_node": 8, "batch_size": 6}
# Sums of at most 40 terms of one sign, a few roundings each.
RTOL = 100 * 2**-24


def _task(seed=0, heterogeneity=1.0, l2=0.1, **sizes):
    key = jax.random.key(seed)
    sizes = SIZES | sizes
    return logistic_regression(key, heterogeneity=heterogeneity, l2=l2, **sizes)


def _params():
    return jnp.array([0.5, -1.0, 2.0, 0.25])


def _loop(task, params):
    """f and ∇f, a loop over nodes and examples in float64."""
    features, labels = np.asarray(task.features, float), np.asarray(task.labels, float)
    x, l2 = np.asarray(params, float), float(task.l2)
    num_nodes, num_samples, _ = features.shape
    value, gradient = l2 / 2 * x @ x, l2 * x
    for node in range(num_nodes):
        for a, y in zip(features[node], labels[node], strict=True):
            value += math.log1p(math.exp(-y * (a @ x))) / num_samples / num_nodes
            slope = -y / (1 + math.exp(y * (a @ x)))
            gradient = gradient + slope * a / num_samples / num_nodes
    return value, gradient


@pytest.mark.parametrize("num_nodes", [1, 2, 5, 8])
def test_objective_and_gradient_agree_with_a_loop(num_nodes):
    task = _task(num_nodes=num_nodes)
    value, gradient = _loop(task, _params())
    found = jax.jit(
        lambda task, params: (task.objective(params), task.gradient(params))
    )
    found_value, found_gradient = found(task, _params())
    np.testing.assert_allclose(found_value, value, rtol=RTOL)
    # Terms of both signs: relative to their size, at most max ‖a‖ < 3.
    np.testing.assert_allclose(found_gradient, gradient, atol=3 * RTOL)
    assert isinstance(task, Task)
    assert task.num_nodes == num_nodes
    assert set(np.unique(task.labels)) == {-1.0, 1.0}


def test_loss_of_a_batch():
    task = _task()
    batch = task.sample(jax.random.key(1), jnp.array(2), None)
    chex.assert_shape(batch, [(6, 4), (6,)])
    alone = task.replace(features=batch[0][None], labels=batch[1][None])
    value, _ = _loop(alone, _params())
    np.testing.assert_allclose(task.loss(_params(), batch), value, rtol=RTOL)


def test_large_margins_stay_finite():
    task = _task()
    assert jnp.isfinite(task.objective(1e4 * _params()))
    assert jnp.isfinite(task.gradient(1e4 * _params())).all()


def test_sample_is_uniform_over_the_nodes_own_examples():
    task = _task()
    keys = jax.random.split(jax.random.key(3), (5, 300))
    over_keys = jax.vmap(task.sample, in_axes=(0, None, None))
    features, _ = jax.vmap(over_keys, in_axes=(0, 0, None))(keys, jnp.arange(5), None)
    chex.assert_shape(features, (5, 300, 6, 4))
    drawn = np.asarray(features).reshape(5, -1, 1, 4)
    same = (drawn == np.asarray(task.features)[:, None]).all(axis=-1)
    assert same.any(axis=-1).all()  # nothing but the node's own
    counts = same.sum(axis=1)
    expected = 300 * 6 / 8
    # Laurent and Massart 2000: P(χ²_ν ≥ ν + 2√(νx) + 2x) ≤ e^−x, here 1e-6.
    x, freedom = math.log(1e6), 7
    limit = freedom + 2 * math.sqrt(freedom * x) + 2 * x
    assert ((counts - expected) ** 2 / expected).sum(axis=1).max() < limit


def _dissimilarity(heterogeneity, num_samples):
    """(1/n) Σ ‖∇f_i(0) − ∇f(0)‖²."""
    task = _task(
        heterogeneity=heterogeneity, num_nodes=64, samples_per_node=num_samples
    )
    batches = (task.features, task.labels)
    gradients = jax.vmap(jax.grad(task.loss), in_axes=(None, 0))(jnp.zeros(4), batches)
    deviations = gradients - gradients.mean(axis=0, keepdims=True)
    return float((deviations**2).sum(axis=1).mean())


def test_heterogeneity_makes_the_nodes_differ():
    num_samples = 512
    # At 0 all nodes have one distribution. ∇f_i(0) = −½ mean(y a), whose variance is at
    # most E‖a‖²/4 = 1/4 per example. The mean of 64 nodes is within 5 standard errors,
    # each at most √(2/64) of it: a χ² of at least one degree of freedom per node.
    noise = 1 / (4 * num_samples)
    assert _dissimilarity(0.0, num_samples) < noise * (1 + 5 * math.sqrt(2 / 64))
    # By Stein's lemma E ∇f_i(0) = −x_i E σ'(⟨a, x_i⟩)/d, with E σ' > 0.05 while the
    # margins' deviation ‖x_i‖/√d is below 7; the x_i spread by 9 d around x*.
    signal = 9 * 4 * (0.05 / 4) ** 2
    assert signal > 10 * noise
    assert _dissimilarity(3.0, num_samples) > signal


def test_curvature_is_within_the_documented_bounds():
    task = _task(l2=0.3)
    upper = float((task.features**2).sum(axis=-1).mean()) / 4 + 0.3
    for scale in (0.0, 1.0, 10.0):
        eigenvalues = jnp.linalg.eigvalsh(
            jax.hessian(task.objective)(scale * _params())
        )
        assert eigenvalues.min() > 0.3 * (1 - RTOL)
        assert eigenvalues.max() < upper * (1 + RTOL)


def test_adding_nodes_changes_no_other_nodes_data():
    few, more = _task(num_nodes=3), _task(num_nodes=8)
    chex.assert_trees_all_equal(
        (few.features, few.labels), (more.features[:3], more.labels[:3])
    )


def test_heterogeneity_and_l2_can_be_swept():
    values = jnp.array([0.0, 2.0])
    tasks = jax.vmap(lambda value: _task(heterogeneity=value, l2=value))(values)
    objectives = jax.vmap(lambda task: task.objective(_params()))(tasks)
    for number in range(2):
        alone = _task(heterogeneity=values[number], l2=values[number])
        value, _ = _loop(alone, _params())
        np.testing.assert_allclose(objectives[number], value, rtol=RTOL)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ("num_nodes", "node"),
        ("dim", "dimension"),
        ("samples_per_node", "sample per node"),
        ("batch_size", "draw per batch"),
    ],
)
def test_refusals(size, words):
    with pytest.raises(ValueError, match=f"needs at least 1 {words}, got 0"):
        _task(**{size: 0})
