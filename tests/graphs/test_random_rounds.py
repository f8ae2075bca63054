"""Topologies of random rounds: their distribution, their keys, and what they hold."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import tele_jax as tele
from tele_jax.graphs._rounds import round_key
from tele_jax.mixing import matrix
from tests import helpers
from tests.graphs import sampling

KEY = jax.random.key(11)

RANDOM = {
    "random_matching": lambda k, key=KEY: tele.graphs.random_matching(k, key),
    "randomized_gossip": lambda k, key=KEY: tele.graphs.randomized_gossip(k, key),
    "el_oracle": lambda k, key=KEY: tele.graphs.el_oracle(k, 3, key),
    "el_local": lambda k, key=KEY: tele.graphs.el_local(k, 3, key),
    "od_equidyn": lambda k, key=KEY: tele.graphs.od_equidyn(k, key),
    "ou_equidyn": lambda k, key=KEY: tele.graphs.ou_equidyn(k, key),
    "relabelled_complete": lambda k, key=KEY: tele.graphs.randomly_relabel(
        tele.graphs.complete(k), key
    ),
}
every_random = pytest.mark.parametrize("name", RANDOM)


@functools.partial(jax.jit, static_argnums=0)
def _swept(name, keys):
    """Ten rounds for every key, a vmap in a vmap."""
    rounds = jnp.arange(10, dtype=jnp.int32)
    return jax.vmap(lambda key: jax.vmap(RANDOM[name](7, key).at)(rounds))(keys)


@every_random
def test_the_round_and_the_key_decide_the_draw(name):
    keys = jax.random.split(KEY, 2)
    swept = jax.device_get(_swept(name, keys))
    for i, t in ((0, 0), (0, 7), (1, 7)):
        alone = helpers.at(RANDOM[name](7, keys[i]), jnp.int32(t))
        one = helpers.part(helpers.part(swept, i), t)
        jax.tree.map(np.testing.assert_array_equal, one, alone)
    first, other = (
        np.array([matrix(helpers.part(helpers.part(swept, i), t)) for t in range(10)])
        for i in (0, 1)
    )
    # But for the complete graph, which is the same in any order, ten rounds in a row
    # are not all alike, nor like those of another key.
    differ = name != "relabelled_complete"
    assert (first != first[0]).any() == differ
    assert (first != other).any() == differ


def test_families_of_one_key_do_not_draw_the_same_numbers():
    """Nor those that ``fold_in(key, t)`` gives, from which ``simulate`` draws."""
    names = ["random_matching", "el_oracle", "el_local", "od_equidyn", "matcha"]
    drawn = [round_key(name, KEY, 3) for name in names]
    drawn += [jax.random.fold_in(KEY, 3), round_key("matcha", KEY, 2)]
    numbers = {tuple(jax.random.key_data(key).tolist()) for key in drawn}
    assert len(numbers) == len(drawn)


def _equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from _equations(inner)


@every_random
def test_nothing_is_precomputed_and_a_round_holds_few_numbers_per_slot(name):
    topology = RANDOM[name](10_000)
    assert sum(np.size(leaf) for leaf in jax.tree.leaves(topology)) <= 2
    mixing = jax.eval_shape(topology.at, 0)
    senders = {"el_oracle": 4, "el_local": 4}.get(name, 2)
    entries = sum(leaf.size for leaf in jax.tree.leaves(mixing))
    assert entries <= 2 * senders * 10_000
    # And no step on the way is larger: a key is two numbers, a counter of random bits
    # as many as the bits, and the indices of a scatter one more.
    jaxpr = jax.make_jaxpr(topology.at)(0).jaxpr
    largest = max(
        variable.aval.size for eqn in _equations(jaxpr) for variable in eqn.outvars
    )
    assert largest <= 4 * senders * 10_000


def test_relabelling_a_table_holds_the_table_and_a_key():
    ring = tele.graphs.ring(100)
    held = jax.tree.leaves(tele.graphs.randomly_relabel(ring, KEY))
    assert sum(np.size(leaf) for leaf in held) == 2 * 3 * 100 + 1


def _matrix(size, diagonal, other):
    return np.full((size, size), other) + (diagonal - other) * np.eye(size)


@pytest.mark.parametrize("size", [5, 6])
def test_random_matching_pairs_all_alike(size):
    """A given pair meets with probability 2 ⌊k/2⌋ / (k (k − 1)), half each then."""
    matrices = sampling.sampled(RANDOM["random_matching"](size))
    other = 1 / 2 * 2 * (size // 2) / size / (size - 1)
    sampling.assert_expected(matrices, _matrix(size, 1 - (size - 1) * other, other))
    halves = (matrices == 0.5).sum(axis=(1, 2))
    assert {*halves.tolist()} == {4 * (size // 2)}  # all but one have a partner
    sampling.assert_expected_contraction(matrices, size // 2 / (size - 1))


@pytest.mark.parametrize("size", [2, 6])
def test_randomized_gossip_picks_one_of_all_pairs(size):
    matrices = sampling.sampled(RANDOM["randomized_gossip"](size))
    other = 1 / (size * (size - 1))
    sampling.assert_expected(matrices, _matrix(size, 1 - 1 / size, other))
    assert {*(matrices == 0.5).sum(axis=(1, 2)).tolist()} == {4}
    sampling.assert_expected_contraction(matrices, 1 / (size - 1))


@pytest.mark.parametrize(("size", "degree"), [(5, 1), (6, 3), (4, 9)])
def test_el_oracle_hears_all_alike_in_regular_digraphs(size, degree):
    matrices = sampling.sampled(tele.graphs.el_oracle(size, degree, KEY))
    r = min(degree, size - 1)
    other = r / ((r + 1) * (size - 1))
    sampling.assert_expected(matrices, _matrix(size, 1 / (r + 1), other))
    for axis in (1, 2):  # r distinct senders and r distinct receivers
        assert ((matrices > 0).sum(axis=axis) == r + 1).all()
    contraction = 1 - (1 / (r + 1) - 1 / size) * size / (size - 1)
    sampling.assert_expected_contraction(matrices, contraction)
    if r < size - 1 and r > 1:
        assert (matrices != matrices.transpose(0, 2, 1)).any()


def test_el_oracle_puts_the_slots_in_a_random_order():
    """One sender of 5 slots is a random cycle of them: 4 of the 24 are circulant."""
    matrices = sampling.sampled(tele.graphs.el_oracle(5, 1, KEY))
    shifted = np.roll(matrices, 1, axis=(1, 2))
    circulant = (matrices == shifted).all(axis=(1, 2))
    sampling.assert_mean(circulant, 4 / 24)


@pytest.mark.parametrize(("size", "degree"), [(5, 1), (6, 3)])
def test_el_local_sends_to_all_alike(size, degree):
    """A slot hears B ~ Bin(k − 1, q) others, q = r/(k − 1): its own weight is
    E[1/(1 + B)] = (1 − (1 − q)ᵏ)/(k q), and the others share the rest alike."""
    matrices = sampling.sampled(tele.graphs.el_local(size, degree, KEY))
    r, q = degree, degree / (size - 1)
    own = (1 - (1 - q) ** size) / (size * q)
    sampling.assert_expected(matrices, _matrix(size, own, (1 - own) / (size - 1)))
    assert ((matrices > 0).sum(axis=2) == r + 1).all()  # each sends to r others
    heard = (matrices > 0).sum(axis=1, keepdims=True)
    equal = np.where(matrices > 0, 1 / heard, 0)  # with equal weights
    np.testing.assert_allclose(matrices, equal, rtol=2**-23)
    assert len(np.unique(heard)) > 2  # how many it hears is random


def test_el_local_with_more_targets_than_there_are_sends_to_all():
    topology = tele.graphs.el_local(4, 9, KEY)
    np.testing.assert_array_equal(
        helpers.matrices(topology, 2), np.full((2, 4, 4), 0.25)
    )


def test_randomly_relabelled_stars_have_every_hub_alike():
    """Of the star's own entries the mean of the diagonal and that of the others."""
    size = 5
    star = tele.graphs.star(size)
    matrices = sampling.sampled(tele.graphs.randomly_relabel(star, KEY))
    (of_star,) = tele.to_matrices(star)
    diagonal = np.trace(of_star) / size
    other = (of_star.sum() - np.trace(of_star)) / (size * (size - 1))
    sampling.assert_expected(matrices, _matrix(size, diagonal, other))
    linked = (matrices > 0) & ~np.eye(size, dtype=bool)
    hubs = linked.sum(axis=1).argmax(axis=1)
    is_hub = np.arange(size) == hubs[:, None]
    star = is_hub[:, :, None] != is_hub[:, None, :]
    np.testing.assert_array_equal(linked, star)  # in every round
    counts = np.bincount(hubs, minlength=size)
    # Binomial with 10⁴ rounds and probability 1/5.
    assert np.abs(counts - 2000).max() <= 5 * np.sqrt(10**4 * 0.2 * 0.8)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: tele.graphs.el_oracle(5, 0, KEY),
            "el_oracle: got degree=0, expected at least 1",
        ),
        (
            lambda: tele.graphs.el_local(5, -2, KEY),
            "el_local: got degree=-2, expected at least 1",
        ),
        (
            lambda: tele.graphs.el_local(5, 1.5, KEY),
            r"el_local: got 1\.5, expected a whole number >= 1 as degree",
        ),
        (
            lambda: tele.to_matrices(tele.graphs.random_matching(4, KEY)),
            "to_matrices: RandomMatching is random and has no period; say how many",
        ),
    ],
)
def test_impossible_numbers_are_refused(build, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        build()
