"""Rates: the terms one by one, what each depends on, and what is refused."""

import math

import jax
import numpy as np
import pytest

import tele_jax as tele
from tele_jax.theory import Constants, dsgd, mixing_speed, teleportation

PROBLEM = Constants(smoothness=2.0, gap=3.0, sigma2=0.7, zeta2=1.9)


def test_the_rate_of_dsgd_is_its_formula():
    (L, r0, sigma2, zeta2), n, T, p = PROBLEM, 25, 1000, 0.0415
    rate = dsgd(PROBLEM, num_nodes=n, num_rounds=T, p=p)
    spread = (1 - p) * (sigma2 / p + zeta2 / p**2)
    expected = (
        math.sqrt(L * r0 * sigma2 / (n * T)),
        (L**2 * r0**2 * spread / T**2) ** (1 / 3),
        L * r0 / (p * T),
    )
    np.testing.assert_allclose(rate, expected, rtol=1e-12)
    assert rate.total == pytest.approx(sum(expected))


def test_the_rate_of_teleportation_is_its_formula():
    (L, r0, sigma2, zeta2), n, k, T, p = PROBLEM, 25, 7, 1000, 0.3
    rate = teleportation(PROBLEM, num_nodes=n, num_slots=k, num_rounds=T, p=p)
    expected = (
        math.sqrt(L * r0 * (sigma2 + (1 - (k - 1) / (n - 1)) * zeta2) / (k * T)),
        (L**2 * r0**2 * (1 - p) * (sigma2 + zeta2) / (T**2 * p)) ** (1 / 3),
        L * r0 / (T * p),
    )
    np.testing.assert_allclose(rate, expected, rtol=1e-12)


def test_a_period_stands_where_the_contraction_of_a_round_would():
    # τ/p for (1 − p)/p and for 1/p.
    (L, r0, sigma2, zeta2), n, T, p, period = PROBLEM, 16, 1000, 0.8, 5
    delay = period / p
    ours = teleportation(
        PROBLEM, num_nodes=n, num_slots=n, num_rounds=T, p=p, period=period
    )
    theirs = dsgd(PROBLEM, num_nodes=n, num_rounds=T, p=p, period=period)
    statistical, deterministic = (
        math.sqrt(L * r0 * sigma2 / (n * T)),
        L * r0 * delay / T,
    )
    consensus = L**2 * r0**2 / T**2 * delay * (sigma2 + zeta2)
    assert ours == pytest.approx((statistical, consensus ** (1 / 3), deterministic))
    consensus = L**2 * r0**2 / T**2 * (sigma2 * delay + zeta2 * delay**2)
    assert theirs == pytest.approx((statistical, consensus ** (1 / 3), deterministic))


def test_one_active_node_and_all_of_them_are_the_known_methods():
    # k = 1: SGD on one node, all differences are noise. k = n on the complete graph:
    # all-reduce, whose rate is that of DSGD with p = 1.
    size = {"num_nodes": 9, "num_rounds": 100, "p": 1.0}
    walk = teleportation(PROBLEM, num_slots=1, **size)
    noise = PROBLEM.sigma2 + PROBLEM.zeta2
    assert walk == pytest.approx((math.sqrt(6 * noise / 100), 0, 0.06))
    assert teleportation(PROBLEM, num_slots=9, **size) == dsgd(PROBLEM, **size)


def test_slots_that_never_agree_have_no_rate_and_no_gap_needs_none():
    for p, constants, total in (
        (0.0, PROBLEM, math.inf),
        (0.0, PROBLEM._replace(zeta2=0.0), math.inf),
        (0.0, PROBLEM._replace(sigma2=0.0, zeta2=0.0), math.inf),
        (0.0, PROBLEM._replace(gap=0.0), 0.0),
        (1.0, PROBLEM._replace(smoothness=0.0), 0.0),
    ):
        size = {"num_nodes": 9, "num_rounds": 100, "p": p}
        assert dsgd(constants, **size).total == total
        assert teleportation(constants, num_slots=4, **size).total == total


def test_the_speed_is_that_of_a_period_or_of_a_random_round():
    ring = tele.graphs.ring(16)
    assert mixing_speed(ring) == (tele.contraction(ring), 1)
    assert mixing_speed(tele.graphs.base_graph(25, 1)) == (pytest.approx(1), 9)
    assert mixing_speed(tele.graphs.ring(1)) == (1.0, 1)
    two = tele.graphs.disjoint_union(tele.graphs.ring(3), tele.graphs.ring(4))
    assert mixing_speed(two) == (0.0, 1)
    matching = tele.graphs.random_matching(8, jax.random.key(0))
    p, period = mixing_speed(matching)
    assert period == 1
    # Half of what two slots differ by goes when they meet: p = 1/2 · 8/7.
    error = tele.analysis.expected_contraction(matching).standard_error
    assert error < 0.02
    assert abs(p - 4 / 7) < 5 * error


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"num_slots": 0}, "got k=0 active nodes, expected 1 <= k <= n = 9"),
        ({"num_slots": 10}, "got k=10 active nodes"),
        ({"num_nodes": 0}, "got num_nodes=0, expected at least 1"),
        ({"num_rounds": 0}, "got num_rounds=0, expected at least 1"),
        ({"period": 0}, "got period=0, expected at least 1"),
        ({"p": -0.1}, "got p=-0.1, expected 0 <= p <= 1"),
        ({"p": math.nan}, "got p=nan"),
        ({"constants": PROBLEM._replace(sigma2=-1.0)}, "got sigma2=-1.0, expected"),
        ({"constants": PROBLEM._replace(zeta2=math.nan)}, "got zeta2=nan, expected"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, sentence):
    good = {"constants": PROBLEM, "num_nodes": 9, "num_rounds": 10, "p": 0.5}
    with pytest.raises(ValueError, match=f"^teleportation: {sentence}"):
        teleportation(**{**good, "num_slots": 4, **settings})
    if "num_slots" not in settings:
        with pytest.raises(ValueError, match=f"^dsgd: {sentence}"):
            dsgd(**{**good, **settings})
