"""Law 10: what can be derived of the methods comes out of the simulation.

f_i(x) = ½ ‖x − b_i‖² with (1/n) Σ ‖b_i − b̄‖² = ζ², gradient noise of variance σ².
All expectations are averages over independent runs, and have to be met within five
standard errors of those averages.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tests import helpers

ZETA, SIGMA, DIM = 2.0, 1.0, 4


def task_of(num_nodes, noise):
    return tele.tasks.equal_hessians(
        jax.random.key(0),
        num_nodes=num_nodes,
        dim=DIM,
        heterogeneity=ZETA,
        noise=noise,
    )


def final_slots(algorithm, task, num_rounds, num_runs):
    """The slots after the last round of independent runs, [runs, k, d]."""

    def run(key):
        return tele.simulate(
            algorithm,
            task,
            task.optimum(),
            key,
            num_rounds=num_rounds,
            observe=helpers.whole_state,
        ).state.params

    return np.asarray(
        jax.vmap(run)(jax.random.split(jax.random.key(1), num_runs)), np.float64
    )


def assert_mean(samples, expected):
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    assert abs(samples.mean() - expected) < 5 * error + 1e-9
    assert error < 0.05 * expected + 1e-9  # the test can tell


def squared(x):
    return np.sum(x**2, axis=-1)


@pytest.mark.parametrize("num_slots", [1, 2, 5, 10, 20])
def test_the_mean_of_the_active_gradients_has_the_finite_population_variance(num_slots):
    # One step of size 1 from anywhere leaves slot a at b of its node, so the mean model
    # is the mean of k of the b_i, drawn without replacement.
    task = task_of(20, noise=0.0)
    algorithm = tele.Teleportation(tele.graphs.ring(num_slots), 1.0)
    mean = final_slots(algorithm, task, 1, 4000).mean(axis=1)
    expected = ZETA**2 / num_slots * tele.theory.variance_factor(20, num_slots)
    assert_mean(squared(mean - np.asarray(task.optimum())), expected)


@pytest.mark.parametrize("num_slots", [4, 16, 64])
def test_teleportation_stands_at_its_stationary_error(num_slots):
    rate, nodes = 0.1, 64
    task = task_of(nodes, noise=SIGMA)
    algorithm = tele.Teleportation(tele.graphs.ring(num_slots), rate)
    mean = final_slots(algorithm, task, 60, 2000).mean(axis=1)
    expected = tele.theory.stationary_error(
        rate, SIGMA**2, ZETA**2, num_nodes=nodes, num_slots=num_slots
    )
    # After 60 rounds 1 − 0.9¹²⁰ of it is reached, from the optimum.
    reached = 1 - (1 - rate) ** 120
    assert_mean(squared(mean - np.asarray(task.optimum())), expected * reached)


def test_dsgd_stands_at_a_stationary_error_without_heterogeneity():
    # All nodes take part in every round, and their differences average out.
    rate, nodes = 0.1, 16
    task = task_of(nodes, noise=SIGMA)
    mean = final_slots(tele.DSGD(tele.graphs.ring(nodes), rate), task, 60, 2000)
    expected = tele.theory.stationary_error(
        rate, SIGMA**2, ZETA**2, num_nodes=nodes, num_slots=nodes
    )
    reached = 1 - (1 - rate) ** 120
    distance = squared(mean.mean(axis=1) - np.asarray(task.optimum()))
    assert_mean(distance, expected * reached)


@pytest.mark.parametrize("num_slots", [4, 16])
@pytest.mark.parametrize("graph", ["ring", "torus", "hypercube"])
def test_slots_disagree_as_the_spectrum_says(graph, num_slots):
    # In the eigenbasis of W, with eigenvalues λ_i, disagreement follows
    # d_i ← λ_i ((1 − η) d_i + η ξ_i) with E ξ_i² = σ² + ζ² n/(n − 1), the variance of a
    # draw less its covariance with another one of the same round. For η → 0 this is
    # η² s (1/k) Σ_{i≥2} λ_i²/(1 − λ_i²).
    rate, nodes, num_rounds = 0.1, 40, 150
    topology = helpers.GRAPHS[graph](num_slots)
    task = task_of(nodes, noise=SIGMA)
    slots = final_slots(tele.Teleportation(topology, rate), task, num_rounds, 400)
    values = np.linalg.eigvalsh(tele.to_matrices(topology)[0])[:-1]
    shrink = ((1 - rate) * values) ** 2
    sums = values**2 * (1 - shrink**num_rounds) / (1 - shrink)
    noise = SIGMA**2 + ZETA**2 * nodes / (nodes - 1)
    expected = rate**2 * noise * sums.sum() / num_slots
    distance = squared(slots - slots.mean(axis=1, keepdims=True)).mean(axis=1)
    assert_mean(distance, expected)


@pytest.mark.parametrize("graph", ["ring", "hypercube"])
def test_slots_disagree_as_the_closed_form_says_and_below_the_bound(graph):
    # The closed form holds for η → 0: it has λ² where the recursion above has
    # ((1 − η) λ)², and so is too large by a factor between 1 and (1 − (1 − η)² λ²)/(1 −
    # λ²), at most 1 + 2η/p, that the slowest direction alone would feel.
    rate, nodes, num_slots, num_rounds = 0.004, 40, 8, 400
    topology = helpers.GRAPHS[graph](num_slots)
    task = task_of(nodes, noise=SIGMA)
    slots = final_slots(tele.Teleportation(topology, rate), task, num_rounds, 400)
    variance = SIGMA**2 + ZETA**2 * nodes / (nodes - 1)
    closed = tele.theory.stationary_disagreement(topology, rate, variance)
    distance = squared(slots - slots.mean(axis=1, keepdims=True)).mean(axis=1)
    error = distance.std(ddof=1) / np.sqrt(len(distance))
    p = tele.contraction(topology)
    assert error < 0.03 * closed
    assert (
        closed / (1 + 2 * rate / p) - 5 * error < distance.mean() < closed + 5 * error
    )
    assert distance.mean() < rate**2 * variance * (1 - p) / p


def rounds_to(algorithm, task, level):
    """Rounds until ‖∇f(x̄)‖² first is below the level, the best of five step sizes."""

    def run(rate):
        return tele.simulate(
            algorithm(rate),
            task,
            jnp.ones(task.dim),
            jax.random.key(2),
            num_rounds=1500,
            eval_every=20,
            observe=tele.metrics.mean_model,
        )

    runs = jax.vmap(run)(jnp.array([0.02, 0.05, 0.1, 0.2, 0.4]))
    below = np.asarray(runs.metrics["grad_norm_sq"]) < level
    chex.assert_shape(below, (5, 76))
    first = np.where(below.any(axis=1), below.argmax(axis=1), below.shape[1])
    return int(np.asarray(runs.rounds[0])[min(first.min(), 75)])


def test_dsgd_degrades_with_n_and_teleportation_does_not():
    # The paper's claim, on least squares with Hessians that differ: measured for the
    # design, DSGD needs about 360 and 720 rounds at n = 8 and 128, TELEPORTATION with
    # k = 8 tokens 350 and 370.
    def task(num_nodes):
        return tele.tasks.least_squares(
            jax.random.key(5), num_nodes=num_nodes, dim=50, noise=1.0
        )

    def dsgd(num_nodes):
        return lambda rate: tele.DSGD(tele.graphs.ring(num_nodes), rate)

    def teleportation(rate):
        return tele.Teleportation(tele.graphs.ring(8), rate)

    dsgd_rounds = [rounds_to(dsgd(n), task(n), 2e-3) for n in (8, 128)]
    our_rounds = [rounds_to(teleportation, task(n), 2e-3) for n in (8, 128)]
    assert dsgd_rounds[1] > 1.5 * dsgd_rounds[0]
    assert our_rounds[1] < 1.3 * our_rounds[0]
