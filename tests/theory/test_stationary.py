"""Stationary states in closed form; law 10 finds them in simulations."""

import itertools
import math

import numpy as np
import pytest

import tele_jax as tele
from tele_jax.theory import (
    stationary_disagreement,
    stationary_error,
    variance_factor,
)
from tests import helpers


def test_the_variance_factor_is_that_of_all_draws():
    # All sets of k of 6 numbers, one by one.
    numbers = np.array([1.0, 3.0, 4.0, 8.0, 9.0, 2.0])
    for k in range(1, 7):
        means = [np.mean(drawn) for drawn in itertools.combinations(numbers, k)]
        expected = np.var(means) / (np.var(numbers) / k)
        assert variance_factor(6, k) == pytest.approx(expected, abs=1e-12)
    assert variance_factor(1, 1) == 0


def test_the_stationary_error_is_the_fixed_point_of_its_recursion():
    # e ← (1 − η)² e + η² (σ² + ρ ζ²)/k.
    rate, n, k, sigma2, zeta2 = 0.3, 12, 5, 0.7, 1.9
    error = stationary_error(rate, sigma2, zeta2, num_nodes=n, num_slots=k)
    noise = sigma2 + (n - k) / (n - 1) * zeta2
    assert error == pytest.approx((1 - rate) ** 2 * error + rate**2 * noise / k)
    assert stationary_error(0.0, 1.0, 1.0, num_nodes=2, num_slots=1) == 0


@pytest.mark.parametrize("size", [2, 5, 16])
@pytest.mark.parametrize("graph", ["ring", "chain", "torus", "hypercube", "star"])
def test_the_disagreement_is_the_fixed_point_of_gossip(graph, size):
    # D ← W (D + η² s (I − J)) W for the covariance D of the slots around their mean.
    topology = helpers.GRAPHS[graph](size)
    size = topology.num_slots
    (matrix,) = tele.to_matrices(topology).astype(float)
    rate, variance = 0.01, 2.5
    covariance = np.zeros((size, size))
    for _ in range(20_000):
        noisy = covariance + rate**2 * variance * (np.eye(size) - 1 / size)
        covariance = matrix @ noisy @ matrix
    found = stationary_disagreement(topology, rate, variance)
    assert found == pytest.approx(np.trace(covariance) / size, rel=1e-4, abs=1e-12)
    p = tele.contraction(topology)
    assert found <= rate**2 * variance * (1 - p) / p * (1 + 1e-6) + 1e-12


def test_on_a_ring_the_disagreement_grows_like_k_and_the_bound_like_its_square():
    sizes = (128, 256, 512)
    found = [stationary_disagreement(tele.graphs.ring(k), 0.1, 1.0) for k in sizes]
    speeds = [tele.contraction(tele.graphs.ring(k)) for k in sizes]
    bounds = [(1 - p) / p for p in speeds]
    # The small angles θ = 2πj/k dominate, with 1 − λ² ≈ 2θ²/3; what is left of the
    # others shrinks like 1/k.
    np.testing.assert_allclose(np.diff(np.log2(found)), 1, atol=0.05)
    np.testing.assert_allclose(np.diff(np.log2(bounds)), 2, atol=0.05)


def test_slots_that_never_agree_disagree_without_bound():
    two = tele.graphs.disjoint_union(tele.graphs.ring(3), tele.graphs.ring(4))
    assert stationary_disagreement(two, 0.1, 1.0) == math.inf


def test_a_large_ring_agrees_slowly_but_does():
    # Of 700 slots λ₂² = 1 − 5·10⁻⁵: far from 1, however slow.
    assert stationary_disagreement(tele.graphs.ring(700), 0.1, 1.0) < 1


def test_what_has_no_closed_form_is_refused():
    with pytest.raises(ValueError, match=r"got variance=-1\.0, expected"):
        stationary_disagreement(tele.graphs.ring(4), 0.1, -1.0)
    with pytest.raises(ValueError, match=r"got zeta2=-2, expected"):
        stationary_error(0.1, 1, -2, num_nodes=2, num_slots=1)
    with pytest.raises(ValueError, match="got a period of 3, expected 1"):
        stationary_disagreement(tele.graphs.one_peer_exponential(8), 0.1, 1.0)
    with pytest.raises(ValueError, match="W is not symmetric"):
        stationary_disagreement(tele.graphs.exponential(8), 0.1, 1.0)
    with pytest.raises(ValueError, match=r"got learning_rate=2\.0, expected"):
        stationary_error(2.0, 1.0, 1.0, num_nodes=2, num_slots=1)
    with pytest.raises(ValueError, match=r"^variance_factor: got k=3 active nodes"):
        variance_factor(2, 3)
