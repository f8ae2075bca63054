"""How fast gossip mixes: against NumPy's spectra, closed forms, and each other."""

import jax
import numpy as np
import pytest

import tele_jax as tele
from tele_jax.analysis import speed

KEY = jax.random.key(0)
analysis, graphs = tele.analysis, tele.graphs


def _random_doubly_stochastic(rng, size):
    permutations = [np.eye(size)[rng.permutation(size)] for _ in range(3)]
    return np.average(permutations, axis=0, weights=[0.5, 0.3, 0.2])


def _ring_factor(size):
    """λ₂ of a circulant matrix of thirds, and its smallest eigenvalue."""
    angles = 2 * np.pi * np.arange(1, size) / size
    return np.abs((1 + 2 * np.cos(angles)) / 3).max()


def _torus_factor(side):
    cosines = np.cos(2 * np.pi * np.arange(side) / side)
    eigenvalues = (1 + 2 * cosines[:, None] + 2 * cosines[None, :]) / 5
    return np.sort(np.abs(eigenvalues).ravel())[-2]


def _cube_factor(dimension):
    return 1 - 2 / (dimension + 1)


@pytest.mark.parametrize(
    ("topology", "factor", "published", "half_unit"),
    [
        (tele.graphs.ring(16), _ring_factor(16), 0.0989, 5e-5),
        (tele.graphs.ring(64), _ring_factor(64), 0.00641, 5e-6),
        (tele.graphs.torus(8, 8), _torus_factor(8), 0.221, 5e-4),
        (tele.graphs.hypercube(16), _cube_factor(4), 0.64, 5e-3),
        (tele.graphs.hypercube(64), _cube_factor(6), 0.490, 5e-4),
        # At a power of two the exponential graph has the hypercube's second factor.
        (tele.graphs.exponential(16), _cube_factor(4), 0.64, 5e-3),
        (tele.graphs.exponential(64), _cube_factor(6), 0.490, 5e-4),
        (tele.graphs.exponential(25), None, 0.739, 5e-4),
        (tele.graphs.complete(9), 0.0, 1.0, 1e-6),
        (tele.from_matrices(np.eye(4)), 1.0, 0.0, 1e-6),
        (tele.graphs.ring(1), 0.0, 1.0, 1e-6),
    ],
)
def test_contraction_in_closed_form(topology, factor, published, half_unit):
    contraction = tele.contraction(topology)
    assert isinstance(contraction, float)
    assert abs(contraction - published) <= half_unit
    if factor is not None:  # float32 weights, 24 bits
        np.testing.assert_allclose(contraction, 1 - factor**2, atol=1e-6)


def test_contraction_of_a_period_is_that_of_the_product_in_order():
    rng = np.random.default_rng(1)
    matrices = np.array([_random_doubly_stochastic(rng, 7) for _ in range(3)])
    first, second, third = matrices

    def of(product):
        return 1 - np.linalg.svd(product - 1 / 7, compute_uv=False)[0] ** 2

    contraction = tele.contraction(tele.from_matrices(matrices))
    np.testing.assert_allclose(contraction, of(first @ second @ third), atol=1e-6)
    assert abs(of(third @ second @ first) - contraction) > 1e-2  # the order matters
    assert abs(of(first) - contraction) > 1e-2


def test_one_round_of_a_period_is_chosen_by_its_number():
    matrices = tele.to_matrices(graphs.base_graph(6, 1))
    topology = graphs.base_graph(6, 1)
    for t, matrix in enumerate(matrices):
        norm = np.linalg.norm(matrix - 1 / 6, ord=2)
        got = tele.contraction(topology, start=t, num_rounds=1)
        np.testing.assert_allclose(got, 1 - norm**2, atol=1e-6)
    # One peer cannot bring all closer in one round, but a period averages exactly.
    assert abs(tele.contraction(topology, num_rounds=1)) < 1e-6
    np.testing.assert_allclose(tele.contraction(topology), 1.0, atol=1e-6)


LARGE = {
    # A quarter turn of a circulant of hops has its eigenvalues in closed form.
    "exponential": (
        graphs.exponential(2100),
        lambda: _circulant_contraction(2100, [0, *(2**j for j in range(12))]),
    ),
    "torus": (graphs.torus(46, 46), lambda: 1 - _torus_factor(46) ** 2),
    "hypercube": (graphs.hypercube(4096), lambda: 1 - _cube_factor(12) ** 2),
    "base_2": (graphs.base_graph(2100, 1), lambda: 1.0),
    "complete": (graphs.complete(2100), lambda: 1.0),
}


def _circulant_contraction(size, hops):
    column = np.bincount(hops, minlength=size) / len(hops)
    return 1 - np.sort(np.abs(np.fft.fft(column)))[-2] ** 2


@pytest.mark.parametrize("name", LARGE)
def test_above_2048_slots_the_iteration_finds_the_closed_form(name):
    topology, expected = LARGE[name]
    assert topology.num_slots > speed._MAX_EXACT
    np.testing.assert_allclose(tele.contraction(topology), expected(), atol=2e-6)


def test_no_matrix_of_all_pairs_is_made_above_2048_slots(monkeypatch):
    monkeypatch.setattr(speed, "to_matrices", None)  # calling it would raise
    assert tele.contraction(graphs.base_graph(2049, 1)) == pytest.approx(1, abs=1e-6)


def test_the_iteration_agrees_with_the_matrix(monkeypatch):
    rng = np.random.default_rng(1)
    matrices = np.array([_random_doubly_stochastic(rng, 30) for _ in range(3)])
    for topology in (
        tele.from_matrices(matrices),
        graphs.watts_strogatz(40, 4, 0.3, seed=0),
        graphs.repeat(graphs.one_peer_exponential(24), 2),
    ):
        exact = tele.contraction(topology)
        with monkeypatch.context() as patch:
            patch.setattr(speed, "_MAX_EXACT", 1)
            np.testing.assert_allclose(tele.contraction(topology), exact, atol=2e-6)


EXPECTED = {
    # W is a projection: E[W Wᵀ] = E[W], whose entries off the diagonal are equal.
    # If k is odd, one slot stays alone.
    "random_matching": (
        lambda k: graphs.random_matching(k, KEY),
        lambda k: k // 2 / (k - 1),
    ),
    "randomized_gossip": (
        lambda k: graphs.randomized_gossip(k, KEY),
        lambda k: 1 / (k - 1),
    ),
    # E ‖(1 − η) x + η W_a x‖², x ⊥ 𝟏, with E W_a = J and E ‖W_a x‖² = (1 − 2/k) ‖x‖².
    "od_equidyn": (
        lambda k: graphs.od_equidyn(k, KEY, 0.7),
        lambda k: 1 - 0.3**2 - 0.7**2 * (1 - 2 / k),
    ),
    # The trace of W Wᵀ is k/(r + 1) and all directions ⊥ 𝟏 are alike.
    "el_oracle": (
        lambda k: graphs.el_oracle(k, 3, KEY),
        lambda k: 1 - (1 / 4 - 1 / k) * k / (k - 1),
    ),
    # A fixed matrix in random order: the mean of its squared entries off J.
    "randomly_relabelled": (
        lambda k: graphs.randomly_relabel(graphs.ring(k), KEY),
        lambda k: 1 - (k / 3 - 1) / (k - 1),
    ),
}


@pytest.mark.parametrize("size", [8, 25])
@pytest.mark.parametrize("name", EXPECTED)
def test_expected_contraction_in_closed_form(name, size):
    build, expected = EXPECTED[name]
    estimate = analysis.expected_contraction(build(size), num_samples=1000)
    assert abs(estimate.value - expected(size)) < 5 * estimate.standard_error + 1e-6
    assert estimate.standard_error < 0.03  # the test can tell


def test_expected_contraction_without_matrices_is_the_same(monkeypatch):
    topology = graphs.random_matching(40, KEY)
    monkeypatch.setattr(speed, "_MAX_EXACT_SAMPLES", 1)
    estimate = analysis.expected_contraction(topology, num_samples=1000)
    assert abs(estimate.value - 40 / 78) < 5 * estimate.standard_error
    assert estimate.standard_error < 0.01


def test_expected_contraction_of_no_chance_is_the_contraction():
    estimate = analysis.expected_contraction(graphs.torus(3, 4), num_samples=4)
    np.testing.assert_allclose(
        estimate.value, tele.contraction(graphs.torus(3, 4)), atol=1e-5
    )
    assert estimate.standard_error < 1e-7


@pytest.mark.parametrize(
    ("topology", "rounds"),
    [
        (graphs.complete(7), 1),
        (graphs.ring(1), 1),
        (graphs.ring(2), 1),
        (graphs.ring(3), 1),
        (graphs.ring(4), None),
        (graphs.one_peer_exponential(16), 4),
        (graphs.one_peer_exponential(12), None),
        (graphs.hyper_hypercube(12, 2), 3),
        (graphs.base_graph(7, 1), 5),
        (graphs.repeat(graphs.base_graph(7, 1), 5), 1),
        (graphs.lazy(graphs.complete(4)), None),
        (graphs.disjoint_union(graphs.complete(4), graphs.complete(4)), None),
        (graphs.random_matching(2, KEY), None),  # random: not promised
        (graphs.base_graph(2500, 4), 5),
    ],
)
def test_exact_after_is_the_first_round_whose_product_is_the_mean(topology, rounds):
    assert analysis.exact_after(topology) == rounds
    if rounds is not None and topology.num_slots < 100:
        products = [
            np.linalg.multi_dot(
                [np.eye(topology.num_slots), *part, np.eye(topology.num_slots)]
            )
            for part in (
                tele.to_matrices(topology, rounds),
                tele.to_matrices(topology, rounds)[:-1],
            )
        ]
        errors = [np.abs(part - 1 / topology.num_slots).max() for part in products]
        assert errors[0] < 1e-6
        assert errors[1] > 0.01 or topology.num_slots == 1


@pytest.mark.parametrize("function", [tele.contraction, tele.to_matrices])
def test_a_random_topology_has_no_period(function):
    with pytest.raises(ValueError, match=r"RandomMatching is random and has no period"):
        function(graphs.random_matching(4, KEY))


def test_slots_that_do_not_average_are_refused():
    splitter = tele.from_matrices(np.array([[0.4, 0.3, 0.3]] * 3), stochastic="row")
    for limit in (speed._MAX_EXACT, 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(speed, "_MAX_EXACT", limit)
            with pytest.raises(ValueError, match=r"column 0 sums to 1\.2, expected 1"):
                tele.contraction(splitter)


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match="got num_rounds=0, expected at least 1"):
        tele.contraction(graphs.ring(4), num_rounds=0)


def test_64_bits_change_no_random_round():
    for topology in (
        graphs.random_matching(9, KEY),
        graphs.randomized_gossip(9, KEY),
        graphs.od_equidyn(9, KEY),
        graphs.ou_equidyn(9, KEY),
        graphs.el_oracle(9, 2, KEY),
        graphs.el_local(9, 2, KEY),
        graphs.randomly_relabel(graphs.ring(9), KEY),
    ):
        narrow = tele.to_matrices(topology, 5)
        with jax.enable_x64(True):
            wide = tele.to_matrices(topology, 5)
        np.testing.assert_allclose(wide, narrow, atol=1e-7)


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="got num_samples=3, expected at least 4"):
        analysis.expected_contraction(graphs.ring(4), num_samples=3)
