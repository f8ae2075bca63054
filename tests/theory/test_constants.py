"""L, r₀, σ² and ζ²: exact against the definition, sampled against exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tele_jax.theory import exact_constants, sampled_constants
from tests import helpers

KEY = jax.random.key(4)


def _least_squares(num_nodes=6):
    return tele.tasks.least_squares(
        jax.random.key(0), num_nodes=num_nodes, dim=3, heterogeneity=2.0, noise=0.5
    )


def test_exact_constants_are_their_definitions():
    task, start = _least_squares(), jnp.array([1.0, -2.0, 0.5])
    found = exact_constants(task, start)
    best = np.asarray(task.optimum())
    gradients = [
        jax.grad(lambda x, i=i: jnp.sum((task.scale[i] * x - task.target[i]) ** 2) / 2)(
            best
        )
        for i in range(6)
    ]
    assert found.smoothness == pytest.approx(max(np.asarray(task.scale) ** 2))
    assert found.gap == pytest.approx(
        float(task.objective(start) - task.objective(best)), rel=1e-5
    )
    assert found.sigma2 == pytest.approx(0.25)
    squares = [float(jnp.sum(gradient**2)) for gradient in gradients]
    assert found.zeta2 == pytest.approx(np.mean(squares), rel=1e-5)
    steep = tele.tasks.quadratic(jnp.array([1.0, 3.0]), jnp.zeros((2, 1)))
    assert exact_constants(steep, jnp.ones(1)).smoothness == 9.0
    with pytest.raises(ValueError, match=r"got a LogisticRegression.*sampled_con"):
        exact_constants(_logistic(), start)


def test_sampled_constants_agree_with_exact_ones_at_the_optimum():
    # ζ² is that of x: at x* it is the exact one. The curvature of node i is a_i², so
    # its mean is that of a_i².
    task = _least_squares()
    best = task.optimum()
    values, errors = sampled_constants(task, best, KEY, num_samples=2000)
    exact = exact_constants(task, best)
    assert abs(values.zeta2 - exact.zeta2) < 5 * errors.zeta2
    assert abs(values.sigma2 - exact.sigma2) < 5 * errors.sigma2
    assert errors.zeta2 < 0.1 * exact.zeta2
    assert errors.sigma2 < 0.1 * exact.sigma2
    curvature = float(np.mean(np.asarray(task.scale) ** 2))
    assert abs(values.smoothness - curvature) < 5 * errors.smoothness
    assert values.gap == pytest.approx(float(task.objective(best)))
    assert errors.gap == 0
    less = sampled_constants(task, best, KEY, num_samples=2, least=0.25).values
    assert less.gap == pytest.approx(float(task.objective(best)) - 0.25)
    with pytest.raises(
        ValueError, match=r"got params of shape \(1,\), expected \(3,\)"
    ):
        exact_constants(task, jnp.ones(1))


def _logistic():
    return helpers.logistic(8)


def test_sampled_constants_of_a_task_with_data_are_those_of_all_examples():
    task, start = _logistic(), jnp.full(3, 0.3)

    def gradient(features, labels):
        return jax.grad(task.loss)(start, (features, labels))

    one_by_one = jax.vmap(jax.vmap(gradient))(
        task.features[:, :, None], task.labels[:, :, None]
    )
    of_nodes = one_by_one.mean(axis=1)
    # A batch of 4, drawn with replacement: the variance of one example over 4.
    sigma2 = jnp.sum((one_by_one - of_nodes[:, None]) ** 2, axis=-1).mean() / 4
    around = of_nodes - of_nodes.mean(axis=0, keepdims=True)
    zeta2 = jnp.sum(around**2, axis=-1).mean()
    values, errors = sampled_constants(task, start, KEY, num_samples=4000)
    assert abs(values.sigma2 - sigma2) < 5 * errors.sigma2
    assert abs(values.zeta2 - zeta2) < 5 * errors.zeta2
    assert errors.sigma2 < 0.05 * sigma2
    assert errors.zeta2 < 0.2 * zeta2
    assert values.gap == pytest.approx(float(task.objective(start)), rel=1e-5)


def test_without_an_objective_the_gap_is_sampled():
    task, start = _logistic(), {"x": jnp.zeros(3)}

    class Hidden:
        num_nodes = 8

        def sample(self, key, node, count):
            return task.sample(key, node, count)

        def loss(self, params, batch):
            return task.loss(params["x"], batch)

    values, errors = sampled_constants(Hidden(), start, KEY, num_samples=50)
    # At 0 every example costs log 2.
    assert values.gap == pytest.approx(np.log(2), rel=1e-5)
    assert errors.gap == pytest.approx(0, abs=1e-6)


def test_one_node_differs_from_nobody():
    values, _ = sampled_constants(_least_squares(1), jnp.ones(3), KEY, num_samples=4)
    assert values.zeta2 == 0


def test_a_zeta_that_is_hardly_there_is_not_negative():
    settings = {"samples_per_node": 200, "heterogeneity": 0.0, "l2": 0.0}
    task = helpers.logistic(8, batch_size=1, **settings)
    found = [
        sampled_constants(task, jnp.zeros(3), jax.random.key(seed), num_samples=8)
        for seed in range(6)
    ]
    assert min(values.zeta2 for values, _ in found) == 0
    assert max(values.zeta2 for values, _ in found) > 0


class Counts(tele.tasks.LogisticRegression):
    counts_draws = True


def test_batches_that_depend_on_each_other_are_refused():
    with pytest.raises(ValueError, match="Counts counts its draws, expected batches"):
        sampled_constants(Counts(None, None, 0.0, 1), jnp.ones(3), KEY)


def test_one_sample_has_no_error():
    with pytest.raises(ValueError, match="got num_samples=1, expected at least 2"):
        sampled_constants(_least_squares(), jnp.ones(3), KEY, num_samples=1)
