"""The laws that every topology obeys at every size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tele_jax.gossip import mix
from tele_jax.mixing import matrix
from tests import helpers

every_builder = pytest.mark.parametrize("name", helpers.BUILDERS)

SIZES = range(1, 41)
MIXED = (1, 2, 3, 5, 8, 25, 40)
RANDOM_ROUNDS = 4
# A sum of weights that is 1 before they are rounded to float32 is off by at most
# 2⁻²⁴ after; sums of up to six terms in float32 add an error of 5 · 2⁻²⁴.
ROUNDING = 6 * 2**-24


def _others(matrices):
    """In- and out-degrees, [2, rounds, k]: partners with a weight, but the slot."""
    linked = (matrices != 0) & ~np.eye(matrices.shape[1], dtype=bool)
    return linked.sum(axis=1), linked.sum(axis=2)


def _check_weights(family, matrices):
    assert (matrices >= 0).all()
    if family.stochastic in ("doubly", "column"):
        np.testing.assert_allclose(matrices.sum(axis=1), 1, rtol=0, atol=ROUNDING)
    if family.stochastic in ("doubly", "row"):
        np.testing.assert_allclose(matrices.sum(axis=2), 1, rtol=0, atol=ROUNDING)
    if family.symmetric:
        np.testing.assert_array_equal(matrices, matrices.transpose(0, 2, 1))


def _check_degrees(family, matrices, k):
    heard, told = _others(matrices)
    assert heard.max() <= family.degree(k)
    assert told.max() <= (family.out_degree or family.degree)(k)


def _check_exactness(family, matrices, k):
    if family.exact is None:
        return
    product = np.eye(len(matrices[0]))
    for one in matrices:
        product = product @ one
    error = np.abs(product - 1 / len(product)).max()
    # Every factor is off by 2⁻²⁴ in the norm of column sums, and exact ones have norm
    # 1: a product of p is off by p · 2⁻²⁴. What is not exact misses by far more.
    rounding = 1.01 * len(matrices) * 2**-24
    assert error <= rounding if family.exact(k) else error > 1e-4, (k, error)


def _check(name, k):
    family = helpers.BUILDERS[name]
    topology = family.build(k)
    assert topology.num_slots == family.size(k)
    assert topology.period in family.periods(k), k
    matrices = helpers.matrices(topology, topology.period or RANDOM_ROUNDS)
    _check_weights(family, matrices)
    _check_degrees(family, matrices, k)
    _check_exactness(family, matrices, k)
    return topology, matrices


def _is_a_program(name):
    """Whether every size is a program to compile, for rounds are not written down."""
    topology = helpers.BUILDERS[name].build(2)
    return not isinstance(topology, tele.Periodic)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if _is_a_program(name) else ())
        for name in helpers.BUILDERS
    ],
)
def test_every_round_is_what_the_family_promises_at_every_size(name):
    for k in SIZES:
        _check(name, k)


def test_one_slot_is_the_identity_in_one_round_in_every_family():
    alone = {name: family.build(1) for name, family in helpers.BUILDERS.items()}
    first, second = jax.jit(
        lambda: [{name: one.at(t) for name, one in alone.items()} for t in (0, 1)]
    )()
    for name, family in helpers.BUILDERS.items():
        assert alone[name].period == (None if None in family.periods(1) else 1), name
        assert matrix(first[name]).tolist() == [[1]], name
        assert matrix(second[name]).tolist() == [[1]], name


@pytest.mark.parametrize(
    "name",
    [name for name, family in helpers.BUILDERS.items() if not family.symmetric],
)
def test_a_family_is_declared_as_narrowly_as_it_can_be(name):
    """So that no law is skipped for a family that obeys it."""
    family = helpers.BUILDERS[name]
    topology = family.build(25)
    matrices = helpers.matrices(topology, topology.period or RANDOM_ROUNDS)
    assert (matrices != matrices.transpose(0, 2, 1)).any()
    sums = {"column": matrices.sum(axis=1), "row": matrices.sum(axis=2)}
    for kind, of_kind in sums.items():
        declared = family.stochastic in ("doubly", kind)
        assert (np.abs(of_kind - 1).max() <= ROUNDING) == declared


_mix = jax.jit(mix)


def _round(topology, t):
    """Round t, its arrays on the host, so that gossip alone is compiled."""
    if isinstance(topology, tele.Periodic):
        senders, weights = np.asarray(topology.senders), np.asarray(topology.weights)
        return tele.Mixing(senders[t], weights[t])
    num_rounds = topology.period or RANDOM_ROUNDS
    return helpers.part(jax.device_get(helpers.rounds(topology, num_rounds)), t)


@every_builder
def test_mix_is_the_dense_product_and_keeps_the_mean(name):
    """And every round is what the family promises, at these sizes."""
    for k in MIXED:
        topology, matrices = _check(name, k)
        size = topology.num_slots
        numbers = np.random.default_rng(k).uniform(size=(size, 3)).astype(np.float32)
        for t in range(min(len(matrices), 3)):
            mixed = np.asarray(_mix(_round(topology, t), numbers), np.float64)
            # A sum of k numbers in [0, 1] with weights that sum to s is below s, and
            # rounded k + 1 times; the one family of two rounds per step does it twice.
            total = matrices[t].sum(axis=0).max()
            rounding = 2 * (size + 1) * 2**-24 * total
            exact = matrices[t].T @ np.float64(numbers)
            np.testing.assert_allclose(mixed, exact, rtol=0, atol=rounding)
            if helpers.BUILDERS[name].stochastic == "doubly":
                mean = np.float64(numbers).mean(axis=0)
                np.testing.assert_allclose(
                    mixed.mean(axis=0), mean, rtol=0, atol=rounding + ROUNDING
                )


def test_rounds_of_a_period_return():
    topology = tele.graphs.base_graph(11, 1)
    for t in (0, 3, topology.period - 1):
        later = helpers.at(topology, jnp.int32(t + 5 * topology.period))
        np.testing.assert_array_equal(matrix(later), tele.to_matrices(topology)[t])
