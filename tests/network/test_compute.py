"""Times of local steps follow their laws."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from tele_jax import network

NODES = jnp.arange(50_000)


def test_log_normal_times_have_their_mean_and_spread():
    times = network.log_normal(2.0, 0.5).of(jax.random.key(0), NODES)
    logs = np.log(np.asarray(times, np.float64) / 2.0)
    error = 5 / np.sqrt(len(NODES))
    assert abs(times.mean() / 2.0 - 1) < 0.54 * error  # sd of the quotient is 0.533
    assert abs(logs.mean() + 0.125) < 0.5 * error
    assert abs(logs.std() - 0.5) < 0.36 * error


def test_delays_are_exponential_on_top():
    times = network.shifted_exponential(2.0, 0.5).of(jax.random.key(1), NODES)
    delays = np.asarray(times, np.float64) - 2.0
    error = 5 / np.sqrt(len(NODES))
    assert delays.min() >= 0
    assert abs(delays.mean() / 0.5 - 1) < error
    assert abs((delays > 0.5).mean() - np.exp(-1)) < 0.5 * error


def test_a_node_has_its_time_whoever_else_is_active():
    compute = network.log_normal(np.linspace(1, 2, 9), 0.3)
    key = jax.random.key(2)
    every = compute.of(key, jnp.arange(9))
    chex.assert_trees_all_equal(
        compute.of(key, jnp.array([7, 2])), every[jnp.array([7, 2])]
    )
    assert len({*every.tolist()}) == 9
