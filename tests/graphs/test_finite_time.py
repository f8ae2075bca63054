"""One-peer graphs and the hyper-hypercube: the authors' matrices, rounds, exactness."""

import math

import numpy as np
import pytest

import tele_jax as tele
from tests.graphs import base_oracle
from tests.graphs.arithmetic import smooth_below
from tests.graphs.authors import assert_is_the_authors, oracles


def _product(topology):
    product = np.eye(topology.num_slots)
    for matrix in tele.to_matrices(topology):
        product = product @ matrix
    return product


def _assert_exact(topology):
    # Every factor is off by 2⁻²⁴ in the norm of column sums, or not at all.
    size, rounding = topology.num_slots, 1.01 * topology.period * 2**-24
    np.testing.assert_allclose(_product(topology), 1 / size, rtol=0, atol=rounding)


@pytest.mark.parametrize("name", oracles("one_peer_exponential"))
def test_one_peer_exponential_is_the_authors(name):
    assert_is_the_authors(name, tele.graphs.one_peer_exponential)


@pytest.mark.parametrize("name", oracles("hyperhypercube"))
def test_hyper_hypercube_is_the_authors(name):
    assert_is_the_authors(name, tele.graphs.hyper_hypercube)


def test_the_authors_matrices_are_all_there():
    assert len(oracles("one_peer_exponential")) == 11  # n = 2, …, 12
    smooth = {
        f"hyperhypercube_{k}_{n}"
        for k in range(1, 5)
        for n in range(2, 13)
        if n == smooth_below(n, k)
    }
    assert set(oracles("hyperhypercube")) == smooth


def test_one_peer_exponential_averages_exactly_at_powers_of_two_only():
    for size in range(1, 66):
        topology = tele.graphs.one_peer_exponential(size)
        assert topology.period == max(1, math.ceil(math.log2(size)))
        if size.bit_count() == 1:
            _assert_exact(topology)
        else:
            assert np.abs(_product(topology) - 1 / size).max() > 1e-3, size


@pytest.mark.parametrize("dimension", range(8))
def test_one_peer_hypercube_bit_by_bit(dimension):
    size = 2**dimension
    topology = tele.graphs.one_peer_hypercube(size)
    assert topology.period == max(1, dimension)
    _assert_exact(topology)
    matrices = tele.to_matrices(topology)
    for j in range(dimension):
        expected = np.eye(size) / 2
        for i in range(size):
            expected[i, i ^ 2**j] = 1 / 2
        np.testing.assert_array_equal(matrices[j], expected)


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 5, 6])
def test_hyper_hypercube_is_the_double_loop_and_exact(degree):
    sizes = {smooth_below(n, degree) for n in range(1, 101)}
    for size in sizes:
        topology = tele.graphs.hyper_hypercube(size, degree)
        expected = base_oracle.hyper_hypercube(size, degree)
        assert topology.period == len(expected)
        np.testing.assert_allclose(
            tele.to_matrices(topology),
            np.array(expected, np.float64),
            rtol=0,
            atol=1.01 * 2**-25,
        )
        _assert_exact(topology)


def test_hyper_hypercube_takes_few_rounds_in_integer_arithmetic():
    # log(243)/log(3) is 4.999… in floating point.
    assert tele.graphs.hyper_hypercube(243, 2).period == 5
    assert tele.graphs.hyper_hypercube(1000, 9).period == 3
    assert tele.graphs.hyper_hypercube(64, 3).period == 3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: tele.graphs.one_peer_hypercube(12),
            r"one_peer_hypercube: 12 slots is not a power of two; use "
            r"base_graph\(12, 1\) for an exact average at any size\.",
        ),
        (
            lambda: tele.graphs.hyper_hypercube(14, 3),
            r"hyper_hypercube: 14 slots has a prime factor above degree \+ 1 = 4; use "
            r"base_graph\(14, 3\) for an exact average at any size\.",
        ),
        (
            lambda: tele.graphs.hyper_hypercube(8, 0),
            r"hyper_hypercube: got degree=0, expected at least 1\.",
        ),
    ],
)
def test_impossible_numbers_are_refused_with_a_way_out(build, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        build()


def test_more_partners_than_there_are_means_all():
    for degree in (5, 6, 100):  # k − 1 = 5 of 6 slots average at once
        (matrix,) = tele.to_matrices(tele.graphs.hyper_hypercube(6, degree))
        np.testing.assert_allclose(matrix, 1 / 6, rtol=0, atol=2**-27)
