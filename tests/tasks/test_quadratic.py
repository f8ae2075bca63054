"""Quadratic tasks against float64 sums over their nodes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele

TASKS = {
    "least_squares": tele.tasks.least_squares,
    "equal_hessians": tele.tasks.equal_hessians,
}


def make(name, num_nodes=7, dim=3, **settings):
    return TASKS[name](jax.random.key(4), num_nodes=num_nodes, dim=dim, **settings)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("num_nodes", [1, 2, 50])
def test_objective_gradient_and_optimum_are_exact(name, num_nodes):
    task = make(name, num_nodes)
    x = np.array([0.5, -2.0, 1.0])
    scale, target = (np.asarray(a, np.float64) for a in (task.scale, task.target))
    residual = scale[:, None] * x - target
    objective = 0.5 * (residual**2).sum() / num_nodes
    gradient = (scale[:, None] * residual).mean(axis=0)
    np.testing.assert_allclose(task.objective(x), objective, rtol=1e-5)
    np.testing.assert_allclose(task.gradient(x), gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.grad(task.objective)(x), gradient, rtol=1e-4)
    best = (scale[:, None] * target).sum(axis=0) / (scale**2).sum()
    np.testing.assert_allclose(task.optimum(), best, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_is_the_nodes_own_row_with_noise_of_the_variance_given(name):
    task = make(name, noise=3.0)
    x = jnp.array([0.5, -2.0, 1.0])

    def gradient(key, node):
        return jax.grad(task.loss)(x, task.sample(key, node, None))

    keys = jax.random.split(jax.random.key(0), 4000)
    for node in (0, 6):
        drawn = np.asarray(jax.vmap(gradient, (0, None))(keys, node), np.float64)
        scale, target = np.asarray(task.scale)[node], np.asarray(task.target)[node]
        noise = drawn - scale * (scale * np.asarray(x) - target)
        squared = (noise**2).sum(axis=1)  # σ²/d χ²_d: mean σ², variance 2 σ⁴/d
        error = np.sqrt(2 * 81 / 3 / 4000)
        assert abs(squared.mean() - 9) < 5 * error
        assert np.all(abs(noise.mean(axis=0)) < 5 * np.sqrt(3 / 4000))


def test_least_squares_has_the_scales_of_its_two_forms():
    number = np.arange(1, 8)
    np.testing.assert_allclose(make("least_squares").scale, number / 7, rtol=1e-6)
    original = make("least_squares", scaled=False)
    np.testing.assert_allclose(original.scale, number / np.sqrt(7), rtol=1e-6)
    chex.assert_trees_all_equal(original.target, make("least_squares").target)


def test_least_squares_spread_falls_as_one_over_i():
    task = make("least_squares", num_nodes=3, dim=20_000, heterogeneity=2.0)
    spread = np.asarray(task.target).std(axis=1)
    # The s.d. of a standard deviation of 20,000 normals is σ/√40,000.
    np.testing.assert_allclose(spread, 2 / np.array([1, 2, 3]), rtol=5 / 200)


def test_more_nodes_change_no_other_nodes_data():
    few, many = (make("least_squares", num_nodes=n) for n in (3, 9))
    chex.assert_trees_all_equal(few.target, many.target[:3])


@pytest.mark.parametrize("num_nodes", [1, 2, 50])
def test_equal_hessians_have_exactly_the_heterogeneity_asked_for(num_nodes):
    task = make("equal_hessians", num_nodes, heterogeneity=5.0)
    target = np.asarray(task.target, np.float64)
    around = ((target - target.mean(axis=0)) ** 2).sum() / num_nodes
    np.testing.assert_allclose(around, 25.0 if num_nodes > 1 else 0.0, rtol=1e-5)
    np.testing.assert_array_equal(task.scale, np.ones(num_nodes))


@pytest.mark.parametrize("name", TASKS)
def test_sizes_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}: needs at least 1 node, got 0"):
        make(name, num_nodes=0)
    with pytest.raises(ValueError, match=f"{name}: needs at least 1 dimension, got 0"):
        make(name, dim=0)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"scale of shape \(3,\) and target of shape"):
        tele.tasks.quadratic(jnp.ones(3), jnp.ones((2, 4)))
    task = make("least_squares")
    batch = task.sample(jax.random.key(0), 0, None)
    with pytest.raises(ValueError, match=r"params of shape \(1,\), expected \(3,\)"):
        task.loss(jnp.ones(1), batch)
