"""The recipe of the neural study: schedules and directions are their formulas."""

import chex
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.neural_recipe import Recipe


def test_the_schedules_are_their_formulas():
    assert Recipe(schedule="constant").factors(5).tolist() == [1.0] * 5
    steps = Recipe(schedule="step").factors(8)
    # Round t has the schedule's value at t + 1: rounds 3 and 5 are the first after it.
    np.testing.assert_allclose(steps, [1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01], rtol=1e-6)
    found = Recipe(warm_up=0.2).factors(20)
    t = np.arange(1, 21)
    cosine = 0.5 * (1 + np.cos(np.pi * (t - 4) / (21 - 4)))
    np.testing.assert_allclose(found, np.where(t < 4, t / 4, cosine), atol=1e-6)
    assert (found > 0).all()


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_direction_is_sgd_with_momentum_and_weight_decay(nesterov):
    direction = Recipe(nesterov=nesterov, momentum=0.9, weight_decay=0.1).direction()()
    x, gradients = jnp.array([2.0, -1.0]), jnp.array([[1.0, 3.0], [0.5, -2.0]])
    state, velocity = direction.init(x), np.zeros(2)
    for gradient in gradients:
        found, state = direction.update(gradient, state, x)
        decayed = np.asarray(gradient) + 0.1 * np.asarray(x)
        velocity = 0.9 * velocity + decayed
        expected = decayed + 0.9 * velocity if nesterov else velocity
        chex.assert_trees_all_close(found, expected.astype(np.float32), rtol=1e-6)
        x = optax.apply_updates(x, -0.1 * found)
