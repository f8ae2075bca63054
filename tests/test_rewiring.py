"""From one round of gossip to another, against double loops over its matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tele_jax import rewiring
from tele_jax.mixing import Repeated, matrix
from tests import helpers

SIZE = 7
every_form = pytest.mark.parametrize("form", helpers.FORMS)
single = pytest.mark.parametrize(
    "form", [form for form in helpers.FORMS if not form.startswith("repeated")]
)
# Moving a weight rounds nothing; adding up to 8 of them in float32 does, 2⁻²⁴ each.
ROUNDING = 8 * 2**-24

_relabel = jax.jit(rewiring.relabel)
_lazy = jax.jit(rewiring.lazy)
_restrict = jax.jit(rewiring.restrict)
_beside = jax.jit(rewiring.beside)


def _mixing(form, size=SIZE, t=1):
    return helpers.at(helpers.FORMS[form](size), t)


@every_form
def test_relabel_moves_rows_and_columns(form):
    mixing = _mixing(form)
    permutation = np.random.default_rng(0).permutation(SIZE)
    before, after = matrix(mixing), matrix(_relabel(mixing, jnp.array(permutation)))
    expected = np.zeros((SIZE, SIZE))
    for j in range(SIZE):
        for i in range(SIZE):
            expected[permutation[j], permutation[i]] = before[j, i]
    # The products of repeated rounds are summed in another order.
    np.testing.assert_allclose(after, expected, rtol=0, atol=2**-50)
    assert form in ("rank_one", "repeated_rank_one") or (before != after).any()


@every_form
def test_relabel_and_its_inverse_change_nothing(form):
    mixing = _mixing(form)
    permutation = np.random.default_rng(1).permutation(SIZE)
    there = _relabel(mixing, jnp.array(permutation))
    back = _relabel(there, jnp.array(np.argsort(permutation)))
    jax.tree.map(np.testing.assert_array_equal, back, mixing)


@single
def test_lazy_keeps_half_of_the_own_model(form):
    mixing = _mixing(form)
    np.testing.assert_allclose(
        matrix(_lazy(mixing)),
        (np.eye(SIZE) + matrix(mixing)) / 2,
        rtol=0,
        atol=ROUNDING,
    )


def test_lazy_refuses_several_rounds_per_step():
    with pytest.raises(
        ValueError,
        match=r"^lazy: got several rounds of gossip per step, expected one; make every "
        r"round lazy with repeat\(lazy\(topology\), times\)\.$",
    ):
        rewiring.lazy(_mixing("repeated"))


def among_the_living(before, alive):
    """Slot i takes of its own model what it does not hear, pair by pair."""
    size = len(before)
    after = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            heard = j if alive[i] and alive[j] else i
            after[heard, i] += before[j, i]
    return after


ALIVE = {
    "all": np.ones(SIZE, bool),
    "some": np.array([1, 0, 1, 1, 0, 0, 1], bool),
    "but_slot_0": np.arange(SIZE) > 0,
    "one": np.arange(SIZE) == 3,
}


@every_form
@pytest.mark.parametrize("who", ALIVE)
def test_restrict_is_the_double_loop(form, who):
    mixing, alive = _mixing(form), ALIVE[who]
    expected = np.eye(SIZE)
    for one in helpers.each_round(mixing):
        expected = expected @ among_the_living(one, alive)
    restricted = _restrict(mixing, jnp.array(alive))
    after = matrix(restricted)
    np.testing.assert_allclose(after, expected, rtol=0, atol=ROUNDING)
    eye = np.eye(SIZE)
    np.testing.assert_allclose(after[:, ~alive], eye[:, ~alive], rtol=0, atol=ROUNDING)
    np.testing.assert_array_equal(after[~alive][:, alive], 0)  # nobody hears the dead
    if who == "all":
        np.testing.assert_array_equal(after, matrix(mixing))


SYMMETRIC = {
    "ring": tele.graphs.ring,
    "star": tele.graphs.star,
    "complete": tele.graphs.complete,
    "base": lambda k: tele.graphs.base_graph(k, 2),
    "matching": lambda k: tele.graphs.random_matching(k, jax.random.key(4)),
}


@pytest.mark.parametrize("name", SYMMETRIC)
@pytest.mark.parametrize("who", ALIVE)
def test_restrict_keeps_a_symmetric_round_symmetric(name, who):
    """So that it is doubly stochastic, and the mean of the living stays."""
    mixing, alive = helpers.at(SYMMETRIC[name](SIZE), 2), jnp.array(ALIVE[who])
    restricted = _restrict(mixing, alive)
    after = matrix(restricted)
    np.testing.assert_allclose(after, after.T, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(after.sum(axis=0), 1, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(after.sum(axis=1), 1, rtol=0, atol=ROUNDING)
    numbers = np.random.default_rng(2).uniform(size=(SIZE, 4)).astype(np.float32)
    mixed = np.asarray(jax.jit(tele.gossip.mix)(restricted, numbers))
    living, dead = ALIVE[who], ~ALIVE[who]
    np.testing.assert_array_equal(mixed[dead], numbers[dead])
    # Numbers in [0, 1], summed over 8 slots twice.
    np.testing.assert_allclose(
        np.float64(mixed[living]).mean(axis=0),
        np.float64(numbers[living]).mean(axis=0),
        rtol=0,
        atol=2 * ROUNDING,
    )


@pytest.mark.parametrize("form", ["pull", "push", "random_pull"])
def test_the_drift_of_the_mean_of_directed_rounds_is_told(form):
    mixing, alive = _mixing(form), ALIVE["some"]
    restricted = _restrict(mixing, jnp.array(alive))
    after = among_the_living(matrix(mixing), alive)
    np.testing.assert_allclose(matrix(restricted).sum(axis=0), 1, rtol=0, atol=ROUNDING)
    numbers = np.random.default_rng(3).uniform(size=(SIZE, 4)).astype(np.float32)
    moved = (after.T @ numbers - numbers)[alive].mean(axis=0)
    drift = jax.jit(tele.gossip.mean_drift)(restricted, numbers, jnp.array(alive))
    np.testing.assert_allclose(drift, moved, rtol=0, atol=2 * ROUNDING)
    assert np.abs(moved).max() > 0.01  # there is a drift to tell


def test_the_model_of_a_dead_slot_stays_where_senders_split_their_models():
    """Row-stochastic W: the columns of the dead need not sum to 1 before."""
    matrices = np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 1, 0]])
    topology = tele.from_matrices(matrices, stochastic="row")
    alive = np.array([True, False, True])
    restricted = matrix(tele.graphs.restrict(topology, alive).at(0))
    np.testing.assert_allclose(restricted[:, 1], [0, 1, 0])


BLOCKS = {
    "pull": ("pull", "padded", "random_pull"),
    "pull_and_rank_one": ("rank_one", "pull"),
    "rank_one": ("rank_one", "rank_one"),
    "push": ("push", "push"),
    "repeated_push": ("repeated_push", "repeated_push"),
    "single": ("rank_one",),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_beside_is_block_diagonal(name):
    sizes = (4, 1, 6)[: len(BLOCKS[name])]
    mixings = [
        _mixing(form, size) for form, size in zip(BLOCKS[name], sizes, strict=True)
    ]
    expected = np.zeros((sum(sizes), sum(sizes)))
    start = 0
    for mixing, size in zip(mixings, sizes, strict=True):
        for j in range(size):
            for i in range(size):
                expected[start + j, start + i] = matrix(mixing)[j, i]
        start += size
    np.testing.assert_allclose(matrix(_beside(*mixings)), expected, rtol=0, atol=2**-50)


def test_rounds_of_several_steps_are_rewired_one_by_one():
    """Not their product, whose restriction would be another matrix."""
    mixing, alive = _mixing("repeated"), jnp.array(ALIVE["some"])
    restricted = _restrict(mixing, alive)
    assert isinstance(restricted, Repeated)
    each = helpers.each_round(restricted)
    assert len(each) == 2
    for one, before in zip(each, helpers.each_round(mixing), strict=True):
        expected = among_the_living(before, ALIVE["some"])
        np.testing.assert_allclose(one, expected, rtol=0, atol=ROUNDING)
    of_product = among_the_living(matrix(mixing), ALIVE["some"])
    assert np.abs(matrix(restricted) - of_product).max() > 0.01
