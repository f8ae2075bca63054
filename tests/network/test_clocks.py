"""Clocks do not stand still, however late it is."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from tele_jax.network.clocks import Clock, after, midnight, since


def test_small_steps_late_in_time_are_not_lost():
    step, late = np.float32(1e-3), np.float32(1e6)  # a millisecond, after 11 days

    @jax.jit
    def many(now):
        return jax.lax.fori_loop(0, 100_000, lambda _, clock: after(clock, step), now)

    start = after(midnight(), jnp.float32(late))
    end = many(start)
    passed = np.float64(end.high) + np.float64(end.low) - np.float64(late)
    chex.assert_trees_all_close(passed, 100_000 * np.float64(step), rtol=2e-6)
    assert np.float32(late) + step == np.float32(late)  # where a float32 stands still


def test_differences_of_late_moments_are_exact():
    now = after(after(midnight(), jnp.float32(1e9)), jnp.float32(0.125))
    later = after(now, jnp.float32([0.25, 3.0]))
    chex.assert_trees_all_equal(since(later, now), jnp.float32([0.25, 3.0]))
    assert isinstance(later, Clock)
