"""The best number of active nodes: exact minimisation, closed forms and their laws."""

import math

import numpy as np
import pytest

import tele_jax as tele
from tele_jax.theory import (
    Constants,
    best_k,
    closed_form_k,
    mixing_speed,
    table,
    teleportation,
)

PROBLEM = Constants(smoothness=1.0, gap=1.0, sigma2=1.0, zeta2=1.0)
MANY = 2**20


@pytest.mark.parametrize("build", [tele.graphs.ring, tele.graphs.exponential])
def test_no_candidate_has_a_smaller_rate(build):
    size = {"num_nodes": 24, "num_rounds": 300}
    choice = best_k(PROBLEM, build, **size, candidates=range(1, 25))
    totals = {}
    for k in range(1, 25):
        p, period = mixing_speed(build(k))
        rate = teleportation(PROBLEM, num_slots=k, **size, p=p, period=period)
        totals[k] = rate.total
    assert choice.num_slots == min(totals, key=lambda k: totals[k])
    assert choice.rate.total == min(totals.values())
    powers = best_k(PROBLEM, build, **size)
    assert powers.num_slots in (1, 2, 4, 8, 16, 24)
    noisy = Constants(smoothness=1.0, gap=1.0, sigma2=1e6, zeta2=0.0)
    everyone = best_k(noisy, tele.graphs.complete, **size)
    assert everyone.num_slots == 24  # n is a candidate though no power of two
    # The nearest power of two costs a constant.
    assert powers.rate.total <= math.sqrt(2) * choice.rate.total


@pytest.mark.parametrize(
    ("exponent", "power"), [(2, 1 / 7), (1, 1 / 5), (0, 1 / 3), (0.5, 1 / 4)]
)
def test_the_closed_form_is_a_power_of_the_number_of_rounds(exponent, power):
    rounds = 10.0 ** np.arange(8, 25, 4)
    found = [
        closed_form_k(PROBLEM, num_nodes=10**12, num_rounds=T, exponent=exponent)
        for T in rounds
    ]
    # Rounding up adds at most 1.
    exact = (2 * rounds) ** power
    assert ((exact <= np.array(found)) & (np.array(found) < exact + 1)).all()


def test_exact_minimisation_on_a_ring_follows_the_power_one_seventh():
    rounds = 10.0 ** np.arange(7, 17, 3)
    candidates = [round(9 * 1.5**j) for j in range(12)]  # 9 … 778
    best = [
        best_k(
            PROBLEM,
            tele.graphs.ring,
            num_nodes=MANY,
            num_rounds=int(T),
            candidates=candidates,
        ).num_slots
        for T in rounds
    ]
    # Rounding to a candidate moves the slope by log(1.5)/log(10⁹) = 0.02 at most; the
    # power on a torus would be 1/5.
    slope = np.polyfit(np.log(rounds), np.log(best), 1)[0]
    assert abs(slope - 1 / 7) < 0.03
    assert candidates[0] < best[0] < best[-1] < candidates[-1]


def test_exact_minimisation_on_base_2_follows_the_power_one_third():
    # An exact average within a period τ: were p = 1 all that counted, every node would
    # always be active. With τ/p the best k ∝ T^{1/3} (log k)^{4/3}.
    size = {"num_nodes": 1024, "num_rounds": 10**4}

    def build(k):
        return tele.graphs.base_graph(k, 1)

    assert best_k(PROBLEM, build, **size).num_slots < 1024
    rounds = 10.0 ** np.arange(4, 14, 1)
    sizes = 2 ** np.arange(1, 21)
    best = []
    for T in rounds:
        totals = []
        for k in sizes.tolist():
            rate = teleportation(
                PROBLEM,
                num_nodes=MANY**2,
                num_slots=k,
                num_rounds=int(T),
                p=1.0,
                period=int(math.log2(k)),  # of Base-2, as the next lines check
            )
            totals.append(rate.total)
        best.append(sizes[np.argmin(totals)])
    assert [build(2**j).period for j in range(1, 11)] == list(range(1, 11))
    without_logs = np.array(best) / np.log2(best) ** (4 / 3)
    slope = np.polyfit(np.log(rounds), np.log(without_logs), 1)[0]
    assert abs(slope - 1 / 3) < 0.05


def test_the_closed_form_is_clipped():
    few = {"num_rounds": 10**9, "exponent": 0}
    assert closed_form_k(PROBLEM, num_nodes=7, **few) == 7
    silent = PROBLEM._replace(sigma2=0.0, zeta2=0.0)
    assert closed_form_k(silent, num_nodes=7, **few) == 1
    nearly = PROBLEM._replace(gap=1e-300)
    assert closed_form_k(nearly, num_nodes=7, **few) == 7
    solved = PROBLEM._replace(gap=0.0)
    assert closed_form_k(solved, num_nodes=7, **few) == 7


def test_the_table_compares_what_the_functions_say():
    size = {"num_nodes": 16, "num_rounds": 1000}
    rows = [line.split(" | ") for line in table(PROBLEM, **size).splitlines()]
    names = [row[0].lstrip("| ") for row in rows[2:]]
    families = tele.theory.FAMILIES
    expected = [f"{m}, {name}" for name in families for m in ("DSGD", "TELEPORTATION")]
    assert names == [*expected, "All-reduce SGD"]
    ring = best_k(PROBLEM, tele.graphs.ring, **size)
    assert rows[3][1] == str(ring.num_slots)
    assert rows[3][2] == str(closed_form_k(PROBLEM, **size, exponent=2))
    assert rows[3][-1] == f"{ring.rate.total:.4f} |"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"candidates": []}, "best_k: got no candidates"),
        ({"candidates": [0]}, "got k=0"),
        ({"candidates": [9]}, "got k=9 active nodes, expected 1 <= k <= n = 8"),
        ({"num_nodes": 0}, "best_k: got num_nodes=0"),
        ({"num_rounds": 0}, "got num_rounds=0"),
    ],
)
def test_a_choice_out_of_range_is_refused(settings, sentence):
    def build(k):
        return tele.graphs.ring(max(1, k))

    with pytest.raises(ValueError, match=sentence):
        best_k(PROBLEM, build, **{"num_nodes": 8, "num_rounds": 10, **settings})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"num_nodes": 0}, "got num_nodes=0"),
        ({"num_rounds": 0}, "got num_rounds=0"),
        ({"exponent": -1}, "got exponent=-1, expected"),
        ({"constants": PROBLEM._replace(gap=-1.0)}, "got gap=-1.0"),
    ],
)
def test_a_closed_form_out_of_range_is_refused(settings, sentence):
    good = {"constants": PROBLEM, "num_nodes": 8, "num_rounds": 10, "exponent": 2}
    with pytest.raises(ValueError, match=f"^closed_form_k: {sentence}"):
        closed_form_k(**{**good, **settings})
