"""Topologies with other numbers, other weights, or some of their slots dead.

``tests/test_rewiring.py`` has the matrices of every form of a round.
"""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tele_jax.mixing import matrix
from tests import helpers
from tests.test_rewiring import among_the_living

KEY = jax.random.key(6)
ROUNDING = 8 * 2**-24

SCHEDULES = {
    "base": lambda: tele.graphs.base_graph(6, 1),
    "one_peer": lambda: tele.graphs.one_peer_exponential(6),
    "complete": lambda: tele.graphs.complete(6),
    "random": lambda: tele.graphs.od_equidyn(6, KEY),
}
every_schedule = pytest.mark.parametrize("name", SCHEDULES)
ALIVE = np.array([True, False, True, True, True, False])
REWIRED = {
    "relabel": lambda topology: tele.graphs.relabel(topology, [2, 0, 1, 5, 4, 3]),
    "lazy": tele.graphs.lazy,
    "restrict": lambda topology: tele.graphs.restrict(topology, ALIVE),
}


def _expected(change, before):
    if change == "lazy":
        return (np.eye(6) + before) / 2
    if change == "restrict":
        return among_the_living(before, ALIVE)
    back = np.argsort([2, 0, 1, 5, 4, 3])
    return before[np.ix_(back, back)]


@every_schedule
@pytest.mark.parametrize("change", REWIRED)
def test_every_round_is_rewired_and_the_schedule_is_kept(name, change):
    topology = SCHEDULES[name]()
    rewired = REWIRED[change](topology)
    assert (rewired.num_slots, rewired.period) == (6, topology.period)
    before, after = (helpers.matrices(one, 7) for one in (topology, rewired))
    expected = [_expected(change, one) for one in before]
    np.testing.assert_allclose(after, expected, rtol=0, atol=ROUNDING)


@every_schedule
def test_relabelling_back_changes_nothing(name):
    topology = SCHEDULES[name]()
    order = np.random.default_rng(0).permutation(6)
    back = tele.graphs.relabel(tele.graphs.relabel(topology, order), np.argsort(order))
    np.testing.assert_array_equal(
        helpers.matrices(back, 4), helpers.matrices(topology, 4)
    )


def test_lazy_rounds_have_no_negative_eigenvalue():
    swapped = tele.from_matrices(np.eye(6)[[1, 0, 3, 2, 5, 4]])
    for topology in (swapped, tele.graphs.hypercube(8)):
        (one,) = tele.to_matrices(topology)
        assert np.linalg.eigvalsh(one)[0] < -0.4
        (one,) = tele.to_matrices(tele.graphs.lazy(topology))
        # Weights are off by 2⁻²⁴ in the norm of sums.
        assert np.linalg.eigvalsh(one)[0] >= -(2**-23)


def test_every_round_is_a_new_order_of_the_same_round():
    """Round t of a schedule, not the first one, is relabelled in round t."""
    base = tele.graphs.base_graph(5, 1)
    topology = tele.graphs.randomly_relabel(base, KEY)
    assert topology.period is None
    orders = [list(order) for order in permutations(range(5))]
    found = set()
    for t, one in enumerate(helpers.matrices(topology, 10)):
        before = tele.to_matrices(base)[t % 5]
        possible = [before[np.ix_(order, order)] for order in orders]
        matching = [i for i, order in enumerate(possible) if np.array_equal(order, one)]
        assert matching
        found.add(matching[0])
    assert len(found) >= 5


def test_alive_slots_are_a_leaf_that_vmap_sweeps():
    """And it need not be known when the topology is built."""
    alive = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 1, 0, 0, 0]], bool)
    ring = tele.graphs.ring(5)

    def restricted(alive):
        return tele.graphs.restrict(ring, alive).at(0)

    swept = jax.jit(jax.vmap(restricted))(jnp.array(alive))
    (before,) = tele.to_matrices(ring)
    for i, who in enumerate(alive):
        got = matrix(helpers.part(swept, i))
        expected = among_the_living(before, who)
        np.testing.assert_allclose(got, expected, rtol=0, atol=ROUNDING)
    topology = tele.graphs.restrict(ring, alive[1])
    assert any(leaf.dtype == bool for leaf in jax.tree.leaves(topology))


def test_a_permutation_is_a_leaf_that_vmap_sweeps():
    ring = tele.graphs.ring(5)
    orders = np.array([[0, 1, 2, 3, 4], [2, 4, 1, 0, 3]])
    swept = jax.jit(jax.vmap(lambda order: tele.graphs.relabel(ring, order).at(0)))(
        orders
    )
    (before,) = tele.to_matrices(ring)
    for i, order in enumerate(orders):
        back = np.argsort(order)
        expected = before[np.ix_(back, back)]
        np.testing.assert_array_equal(matrix(helpers.part(swept, i)), expected)


@every_schedule
def test_when_all_are_alive_nothing_changes(name):
    topology = SCHEDULES[name]()
    same = tele.graphs.restrict(topology, np.ones(6, bool))
    np.testing.assert_array_equal(
        helpers.matrices(same, 5), helpers.matrices(topology, 5)
    )


def test_the_living_of_a_finite_time_graph_still_keep_their_mean():
    """Though they no longer agree after a period."""
    topology = tele.graphs.restrict(tele.graphs.base_graph(6, 1), ALIVE)
    product = np.eye(6)
    for one in tele.to_matrices(topology):
        product = product @ one
    living = product[np.ix_(ALIVE, ALIVE)]
    rounding = topology.period * ROUNDING
    np.testing.assert_allclose(living.sum(axis=0), 1, rtol=0, atol=rounding)
    np.testing.assert_allclose(living.sum(axis=1), 1, rtol=0, atol=rounding)
    assert np.abs(living - 1 / 4).max() > 0.01


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: tele.graphs.relabel(tele.graphs.ring(3), [0, 1]),
            r"relabel: got a permutation of shape \(2,\), expected each of 0 to 2 once",
        ),
        (
            lambda: tele.graphs.relabel([0, 1, 2], tele.graphs.ring(3)),
            "relabel: got list, expected the topology first",
        ),
        (
            lambda: tele.graphs.relabel(tele.graphs.ring(3), [0, 1, 1]),
            "relabel: got a permutation .*, expected each of 0 to 2 once",
        ),
        (
            lambda: tele.graphs.relabel(tele.graphs.ring(3), [1, 2, 3]),
            "relabel: got a permutation .*, expected each of 0 to 2 once",
        ),
        (
            lambda: tele.graphs.lazy(tele.graphs.repeat(tele.graphs.ring(3), 2)),
            "lazy: got several rounds of gossip per step, expected one; make every "
            r"round lazy with repeat\(lazy\(topology\), times\)",
        ),
        (
            lambda: tele.graphs.restrict(tele.graphs.ring(3), np.ones(4, bool)),
            r"restrict: got alive as bool\[4\], expected bool\[3\], true for every",
        ),
        (
            lambda: tele.graphs.restrict(tele.graphs.ring(3), np.ones(3)),
            r"restrict: got alive as float.*\[3\], expected bool\[3\]",
        ),
        (
            lambda: tele.graphs.restrict(tele.graphs.ring(3), np.zeros(3, bool)),
            "restrict: nobody is alive, expected at least one slot",
        ),
    ],
)
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        build()
