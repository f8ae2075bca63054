"""EquiTopo, against the matrices and the greedy loop of the paper."""

from collections import Counter

import chex
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

import tele_jax as tele
from tele_jax.graphs.equi import greedy_pairs
from tests.graphs import sampling

KEY = jax.random.key(5)


def basis(size, offset):
    """W_a: slot i sends (k − 1)/k of itself to i + a and keeps 1/k."""
    matrix = np.eye(size) / size
    for i in range(size):
        matrix[i, (i + offset) % size] += (size - 1) / size
    return matrix


@pytest.mark.parametrize("size", [2, 3, 5, 8, 25])
@pytest.mark.parametrize("num_bases", [1, 3, 20])
@pytest.mark.parametrize("name", ["d_equistatic", "u_equistatic"])
def test_equistatic_is_the_mean_of_basis_graphs(name, size, num_bases):
    """The offsets are those that NumPy draws, with replacement."""
    seed = 7
    offsets = np.random.default_rng(seed).integers(1, size, num_bases)
    mean = sum(basis(size, offset) for offset in offsets) / num_bases
    if name == "u_equistatic":
        mean = (mean + mean.T) / 2
    topology = getattr(tele.graphs, name)(size, num_bases, seed)
    np.testing.assert_allclose(
        tele.to_matrices(topology)[0], mean, rtol=0, atol=1.01 * 2**-25
    )
    signs = (1, -1) if name == "u_equistatic" else (1,)
    hops = {sign * offset % size for offset in offsets.tolist() for sign in signs}
    assert topology.senders.shape == (1, 1 + len(hops), size)


@pytest.mark.parametrize("name", ["d_equistatic", "u_equistatic"])
def test_a_seed_decides_the_offsets_and_all_are_drawn_alike(name):
    build = getattr(tele.graphs, name)
    first, again, other = (tele.to_matrices(build(40, 3, s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    counts = Counter()
    for seed in range(600):
        (matrix,) = tele.to_matrices(build(7, 1, seed))
        counts.update(np.flatnonzero(matrix[0] > 0).tolist())
    assert counts.pop(0) == 600  # every slot keeps some of its own
    # Each of the 6 offsets 1, …, 6, of which a symmetric one has two: 1/6 or 1/3.
    chance = 1 / 6 if name == "d_equistatic" else 1 / 3
    spread = np.sqrt(600 * chance * (1 - chance))
    assert {*counts} == {1, 2, 3, 4, 5, 6}
    assert max(abs(count - 600 * chance) for count in counts.values()) <= 5 * spread


@pytest.mark.parametrize("name", ["d_equistatic", "u_equistatic"])
def test_equistatic_contracts_as_the_number_of_bases(name):
    """‖W − J‖₂ ≤ √(4 log(4000 k) / M) with probability 0.999, whatever the offsets.

    It is the largest of k − 1 Fourier coefficients, each a mean of M phases (or of
    their real parts). By Hoeffding's inequality the real part of the mean, and so the
    imaginary one, is s away from its own mean, 0 or −1/(k − 1), with probability below
    2 exp(−M s²/2); both are below t/√2 but for 4 exp(−M t²/4), of k − 1 coefficients.
    """
    num_bases = 256
    for size in (32, 128, 512):
        topology = getattr(tele.graphs, name)(size, num_bases, seed=1)
        norm = np.sqrt(1 - tele.contraction(topology))
        assert norm <= np.sqrt(4 * np.log(4000 * size) / num_bases) + 1 / (size - 1)


@pytest.mark.parametrize("size", [5, 6])
@pytest.mark.parametrize("eta", [0.5, 0.8])
def test_od_equidyn_takes_all_offsets_alike(size, eta):
    """E[W] = (1 − η) I + η J, and the rounds are (1 − η) I + η W_a of some a."""
    matrices = sampling.sampled(tele.graphs.od_equidyn(size, KEY, eta))
    expected = (1 - eta) * np.eye(size) + eta / size
    sampling.assert_expected(matrices, expected)
    contraction = 1 - (1 - eta) ** 2 - eta**2 * (1 - 2 / size)
    sampling.assert_expected_contraction(matrices, contraction)
    possible = [(1 - eta) * np.eye(size) + eta * basis(size, a) for a in range(1, size)]
    for matrix in matrices[:20]:
        assert min(np.abs(matrix - one).max() for one in possible) < 2**-22


def greedy(size, offset, start):
    """The paper's loop: from the start on, pair i with i + a if both are free."""
    partners = list(range(size))
    free = [True] * size
    for step in range(size):
        i = (start + step) % size
        j = (i + offset) % size
        if i != j and free[i] and free[j]:
            free[i] = free[j] = False
            partners[i], partners[j] = j, i
    return partners


_pairs = jax.jit(jax.vmap(greedy_pairs, (None, 0, 0)), static_argnums=0)


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([*range(2, 9), 13, 16, 25, 40], id="some"),
        pytest.param([*range(2, 41)], id="all", marks=pytest.mark.slow),
    ],
)
def test_greedy_pairs_are_those_of_the_loop(sizes):
    """For every offset, from the first slot on, the second, the middle, the last."""
    for size in sizes:
        cases = [
            (offset, start)
            for offset in range(1, size)
            for start in (0, 1, size // 2, size - 1)
        ]
        expected = [greedy(size, *case) for case in cases]
        got = _pairs(size, *np.array(cases).T)
        np.testing.assert_array_equal(got, expected, err_msg=str(size))


@pytest.mark.parametrize("size", [5, 8])
def test_ou_equidyn_takes_all_offsets_and_starts_alike(size):
    """E W_ij = η (k − 1)/k · (N(d) + N(k − d)) / (k (k − 1)), d = i − j mod k.

    The offset a is one of k − 1; of the k rotations of the loop's N(a) pairs (i, i + a)
    each is as likely, so it holds a given pair with probability N(a)/k. A pair is
    found at offset d from the one slot and at k − d from the other.
    """
    eta = 0.7
    pairs = [
        sum(p != i for i, p in enumerate(greedy(size, a, 0))) // 2 for a in range(size)
    ]
    expected = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            if i != j:
                found = pairs[(i - j) % size] + pairs[(j - i) % size]
                weight = eta * (size - 1) / size
                expected[i, j] = weight * found / (size * (size - 1))
        expected[i, i] = 1 - expected[i].sum()
    matrices = sampling.sampled(tele.graphs.ou_equidyn(size, KEY, eta))
    sampling.assert_expected(matrices, expected)
    weights = matrices[:, ~np.eye(size, dtype=bool)]
    used = weights[weights > 0]
    np.testing.assert_allclose(used, eta * (size - 1) / size, rtol=2**-22)


@pytest.mark.parametrize("name", ["od_equidyn", "ou_equidyn"])
def test_eta_is_a_leaf(name):
    """So that a vmap sweeps it: its rounds are those of one value each."""
    build = getattr(tele.graphs, name)
    etas = jnp.array([0.2, 1.0])
    swept = jax.jit(jax.vmap(lambda eta: build(6, KEY, eta).at(3)))(etas)
    assert jnp.array_equal(swept.senders[0], swept.senders[1])
    moved = swept.weights[:, 1]  # η (k − 1)/k, or 0 of those without a partner
    np.testing.assert_allclose(moved[0], 0.2 * moved[1], rtol=2**-22)
    np.testing.assert_allclose(moved[1].max(), 5 / 6, rtol=2**-23)


@pytest.mark.parametrize("name", ["d_equistatic", "u_equistatic"])
def test_no_basis_graphs_are_refused(name):
    message = rf"^{name}: needs at least 1 basis graph, got 0\.$"
    with pytest.raises(ValueError, match=message):
        getattr(tele.graphs, name)(5, 0, seed=0)


@pytest.mark.parametrize("name", ["od_equidyn", "ou_equidyn"])
@pytest.mark.parametrize("eta", [0.0, -0.1, 1.1, float("nan")])
def test_an_eta_that_is_no_share_is_refused(name, eta):
    with pytest.raises(
        ValueError, match=f"^{name}: got eta={eta}, expected 0 < eta <="
    ):
        getattr(tele.graphs, name)(5, KEY, eta)


@pytest.mark.parametrize("build", [tele.graphs.d_equistatic, tele.graphs.u_equistatic])
def test_offsets_with_a_common_factor_are_refused_unless_asked_for(build):
    """All even offsets of 12 slots keep the even and the odd ones apart."""
    refused = 0
    for seed in range(20):
        topology = build(12, 2, seed, allow_disconnected=True)
        matrix = tele.to_matrices(topology)[0]
        apart = np.linalg.matrix_power(matrix, 50).min() == 0
        if apart:
            refused += 1
            with pytest.raises(ValueError, match=r"that never hear each other; choose"):
                build(12, 2, seed)
        else:
            chex.assert_trees_all_equal(build(12, 2, seed), topology)
    assert 0 < refused < 20


@pytest.mark.parametrize("name", ["d_equistatic", "u_equistatic"])
def test_offsets_that_leave_groups_apart_are_refused(name):
    """All a multiple of a divisor of k, as networkx sees it."""
    build, refused = getattr(tele.graphs, name), 0
    for seed in range(12):
        topology = build(6, 1, seed, allow_disconnected=True)
        linked = nx.from_numpy_array(tele.to_matrices(topology)[0] > 0)
        parts = nx.number_connected_components(linked)
        if parts == 1:
            np.testing.assert_array_equal(build(6, 1, seed).senders, topology.senders)
            continue
        refused += 1
        message = rf"^{name}: the offsets \d leave {parts} groups of the 6 slots that "
        with pytest.raises(ValueError, match=message):
            build(6, 1, seed)
    assert 0 < refused < 12
