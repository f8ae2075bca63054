"""Graphs whose partners follow from a slot's number: entries and spectra."""

import jax
import numpy as np
import pytest

import tele_jax as tele
from tests.graphs.authors import assert_is_the_authors, oracles


@pytest.mark.parametrize("name", [*oracles("ring"), *oracles("exponential")])
def test_agrees_with_the_authors_matrices(name):
    assert_is_the_authors(name, getattr(tele.graphs, name.rsplit("_", 1)[0]))


def test_the_authors_matrices_are_all_there():
    assert {*oracles("ring")} == {f"ring_{n}" for n in range(3, 13)}
    assert {*oracles("exponential")} == {f"exponential_{n}" for n in range(2, 13)}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 16])
def test_ring_and_complete_entry_by_entry(size):
    ring = np.zeros((size, size))
    for i in range(size):
        partners = {i, (i + 1) % size, (i - 1) % size}
        for j in partners:
            ring[j, i] = 1 / len(partners)
    (got,) = tele.to_matrices(tele.graphs.ring(size))
    np.testing.assert_allclose(got, ring, rtol=0, atol=2**-25)
    (got,) = tele.to_matrices(tele.graphs.complete(size))
    np.testing.assert_allclose(got, np.full((size, size), 1 / size), rtol=2**-24)


def test_a_ring_of_two_is_a_half_everywhere():
    np.testing.assert_array_equal(
        tele.to_matrices(tele.graphs.ring(2)), np.full((1, 2, 2), 0.5)
    )


@pytest.mark.parametrize("size", [1, 2, 3, 6, 8, 25, 33])
def test_exponential_entry_by_entry(size):
    hops = [2**j for j in range(size) if 2**j < size]
    expected = np.zeros((size, size))
    for sender in range(size):
        for hop in [0, *hops]:
            expected[sender, (sender + hop) % size] = 1 / (len(hops) + 1)
    (got,) = tele.to_matrices(tele.graphs.exponential(size))
    np.testing.assert_allclose(got, expected, rtol=2**-24)


SIDES = [(1, 1), (1, 2), (1, 5), (5, 1), (2, 2), (2, 5), (5, 2), (3, 3), (3, 4)]


@pytest.mark.parametrize("sides", SIDES)
def test_torus_entry_by_entry_with_coincident_links_added(sides):
    rows, columns = sides
    expected = np.zeros((rows * columns, rows * columns))
    for i in range(rows):
        for j in range(columns):
            for down, right in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
                sender = (i + down) % rows * columns + (j + right) % columns
                expected[sender, i * columns + j] += 1 / 5
    topology = tele.graphs.torus(rows, columns)
    np.testing.assert_allclose(
        tele.to_matrices(topology)[0], expected, rtol=0, atol=2**-25
    )
    # And each distinct sender is written down once.
    assert topology.senders.shape[1] == (expected[:, 0] > 0).sum()


@pytest.mark.parametrize("dimension", range(7))
def test_hypercube_entry_by_entry(dimension):
    size = 2**dimension
    expected = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            if (i ^ j).bit_count() <= 1:
                expected[j, i] = 1 / (dimension + 1)
    (got,) = tele.to_matrices(tele.graphs.hypercube(size))
    np.testing.assert_allclose(got, expected, rtol=2**-24)


# A weight is off by 2⁻²⁴ of itself, so the norm, below 1, by 2⁻²⁴ and its square by
# 2⁻²³; three times that leaves room for the float64 singular values.
SPECTRAL = 3 * 2**-23


def test_ring_contracts_as_its_closed_form():
    for size in range(3, 66):
        angles = 2 * np.pi * np.arange(1, size) / size
        expected = 1 - (((1 + 2 * np.cos(angles)) / 3) ** 2).max()
        contraction = tele.contraction(tele.graphs.ring(size))
        np.testing.assert_allclose(contraction, expected, rtol=0, atol=SPECTRAL)


def test_hypercube_contracts_as_its_closed_form():
    for d in range(1, 9):
        contraction = tele.contraction(tele.graphs.hypercube(2**d))
        np.testing.assert_allclose(
            contraction, 4 * d / (d + 1) ** 2, rtol=0, atol=SPECTRAL
        )


def test_torus_contracts_as_its_closed_form():
    for rows, columns in SIDES:
        down, right = (np.cos(2 * np.pi * np.arange(n) / n) for n in (rows, columns))
        values = (1 + 2 * down[:, None] + 2 * right[None, :]).ravel() / 5
        expected = 1 - (np.abs(values[1:]).max() if rows * columns > 1 else 0) ** 2
        contraction = tele.contraction(tele.graphs.torus(rows, columns))
        np.testing.assert_allclose(contraction, expected, rtol=0, atol=SPECTRAL)


@pytest.mark.parametrize("size", [2, 3, 7, 16, 25, 64])
def test_exponential_contracts_as_its_fourier_coefficients(size):
    hops = np.array([0] + [2**j for j in range(size) if 2**j < size])
    frequencies = np.arange(1, size)[:, None]
    values = np.exp(2j * np.pi * frequencies * hops / size).mean(axis=1)
    contraction = tele.contraction(tele.graphs.exponential(size))
    np.testing.assert_allclose(
        contraction, 1 - (np.abs(values) ** 2).max(), rtol=0, atol=SPECTRAL
    )


@pytest.mark.parametrize(
    ("topology", "published", "half_unit"),
    [
        (tele.graphs.ring(16), 0.0989, 5e-5),
        (tele.graphs.ring(64), 0.00641, 5e-6),
        (tele.graphs.torus(8, 8), 0.221, 5e-4),
        (tele.graphs.hypercube(16), 0.64, 5e-3),
        (tele.graphs.hypercube(64), 0.490, 5e-4),
        (tele.graphs.exponential(16), 0.64, 5e-3),
        (tele.graphs.exponential(64), 0.490, 5e-4),
        (tele.graphs.exponential(25), 0.739, 5e-4),
    ],
)
def test_published_contractions(topology, published, half_unit):
    assert abs(tele.contraction(topology) - published) <= half_unit


def test_complete_contracts_at_once_and_holds_no_table():
    topology = tele.graphs.complete(100_000)
    assert jax.tree.leaves(topology) == []
    for size in (1, 2, 9, 40):
        contraction = tele.contraction(tele.graphs.complete(size))
        # 1/k is off by 2⁻²⁴ of itself, so the norm of W − J by 2⁻²⁴.
        np.testing.assert_allclose(contraction, 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sides", [(0, 3), (3, 0)])
def test_a_torus_without_a_side_is_refused(sides):
    missing = "row" if sides[0] == 0 else "column"
    with pytest.raises(
        ValueError, match=rf"^torus: needs at least 1 {missing}, got 0\.$"
    ):
        tele.graphs.torus(*sides)


@pytest.mark.parametrize("size", [3, 12])
def test_hypercube_points_to_what_works_at_any_size(size):
    message = (
        rf"^hypercube: {size} slots is not a power of two; use "
        rf"base_graph\({size}, 1\) for an exact average at any size\.$"
    )
    with pytest.raises(ValueError, match=message):
        tele.graphs.hypercube(size)
