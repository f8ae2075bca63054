"""A round of gossip in all its forms: its matrix, and the messages that it sends."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import tele_jax as tele
from tele_jax.mixing import (
    Mixing,
    Push,
    RankOne,
    Repeated,
    count_messages,
    matrix,
    num_slots,
)
from tests import helpers

SIZE = 6
MAX = 2**31 - 1

# Rounds in which a slot is written down twice, or stays out, are the hard ones.
TOPOLOGIES = {
    **helpers.FORMS,
    "lazy_pull": lambda k: tele.graphs.lazy(tele.graphs.ring(k)),
    "lazy_push": lambda k: tele.graphs.lazy(helpers.FORMS["push"](k)),
    "lazy_rank_one": lambda k: tele.graphs.lazy(tele.graphs.complete(k)),
    "restricted_pull": lambda k: tele.graphs.restrict(
        tele.graphs.ring(k), np.arange(k) != 1
    ),
    "restricted_push": lambda k: tele.graphs.restrict(
        helpers.FORMS["push"](k), np.arange(k) != 1
    ),
    "restricted_rank_one": lambda k: tele.graphs.restrict(
        tele.graphs.complete(k), np.arange(k) != 1
    ),
    "union": lambda k: tele.graphs.disjoint_union(
        tele.graphs.ring(k - 2), tele.graphs.complete(2)
    ),
    "nested": lambda k: tele.graphs.repeat(
        tele.graphs.disjoint_union(
            tele.graphs.repeat(tele.graphs.one_peer_exponential(k - 2), 2),
            tele.graphs.repeat(tele.graphs.complete(2), 2),
        ),
        2,
    ),
    "row_stochastic": lambda k: tele.graphs.from_networkx(
        nx.DiGraph([(i, (i + 1) % k) for i in range(k)] + [(0, 3)]), stochastic="row"
    ),
    "no_own_model": lambda k: tele.from_matrices(np.roll(np.eye(k), 1, axis=1)),
}
every_topology = pytest.mark.parametrize("name", TOPOLOGIES)


def _mixing(name):
    return helpers.at(TOPOLOGIES[name](SIZE), 1)


def _loop_matrix(mixing):
    """Weight by weight."""
    size = num_slots(mixing)
    if isinstance(mixing, Repeated):
        product = np.eye(size)
        for r in range(len(jax.tree.leaves(mixing)[0])):
            product = product @ _loop_matrix(helpers.part(mixing.rounds, r))
        return product
    dense = np.zeros((size, size))
    for i in range(size):
        if isinstance(mixing, RankOne):
            dense[i, i] += mixing.own[i]
            for j in range(size):
                dense[j, i] += float(mixing.send[j]) * float(mixing.receive[i])
        else:
            for c in range(len(mixing.weights)):
                other = mixing[0][c, i]
                place = (other, i) if isinstance(mixing, Mixing) else (i, other)
                dense[place] += mixing.weights[c, i]
    return dense


@every_topology
def test_the_matrix_is_the_sum_of_the_weights_one_by_one(name):
    mixing = jax.device_get(_mixing(name))
    assert num_slots(mixing) == SIZE
    got = matrix(mixing)
    assert got.dtype == np.float64
    # Sums and products of float32 numbers in float64, in another order.
    np.testing.assert_allclose(got, _loop_matrix(mixing), rtol=0, atol=2**-50)


def test_the_forms_are_those_that_they_are_called():
    for name, form in (
        ("pull", Mixing),
        ("push", Push),
        ("rank_one", RankOne),
        ("repeated", Repeated),
        ("restricted_push", Push),
        ("lazy_rank_one", RankOne),
        ("restricted_rank_one", RankOne),
        ("union", Mixing),
    ):
        assert type(jax.eval_shape(TOPOLOGIES[name](SIZE).at, 0)) is form


def messages(matrices, source, destination):
    """Pair by pair: slot i, whose result is wanted at its destination, hears j.

    Results stay at the sources but for those of the last round.
    """
    count = 0
    for r, one in enumerate(matrices):
        goal = destination if r == len(matrices) - 1 else source
        for i in range(len(one)):
            for j in range(len(one)):
                count += one[j, i] != 0 and source[j] != goal[i]
    return count


_count = jax.jit(count_messages)


@every_topology
def test_messages_are_the_weights_between_different_slots(name):
    mixing = _mixing(name)
    own = list(range(SIZE))
    count = _count(mixing)
    assert count.dtype == jnp.int32
    assert count.shape == ()
    assert count == messages(helpers.each_round(mixing), own, own)


@every_topology
def test_messages_between_nodes_are_counted_from_holder_to_holder(name):
    """As TELEPORTATION merges gossip and fetch: what goes from the last holders of the
    tokens to the next, some of whom are the same nodes."""
    mixing = _mixing(name)
    rng = np.random.default_rng(0)
    stays, expected = 0, set()
    for _ in range(8):
        source, destination = rng.permutation(8)[:SIZE], rng.permutation(8)[:SIZE]
        count = _count(mixing, jnp.array(source), jnp.array(destination))
        assert count == messages(helpers.each_round(mixing), source, destination)
        stays += len({*source} & {*destination})
        expected.add(int(count))
    assert stays > 0
    assert len(expected) > 1  # who holds what matters


@every_topology
def test_messages_that_return_to_their_sources_are_those_between_slots(name):
    mixing = _mixing(name)
    source = jnp.array(np.random.default_rng(1).permutation(50)[:SIZE])
    assert _count(mixing, source) == _count(mixing)


def test_one_slot_sends_nothing():
    alone = [form(1) for form in helpers.FORMS.values()]
    counts = jax.jit(lambda: [count_messages(one.at(0)) for one in alone])()
    assert counts == [0] * len(alone)


def test_repeated_rounds_add_up():
    """Rounds 3, 4 and 5 of a period of 4, of which the first pairs all slots."""
    base = tele.graphs.base_graph(6, 1)
    counts = [int(count_messages(base.at(t))) for t in (3, 4, 5)]
    assert counts == [6, 4, 4]
    assert count_messages(tele.graphs.repeat(base, 3).at(1)) == 14


@pytest.mark.parametrize("size", [2, 3, 1000])
def test_all_to_all_is_k_squared_less_k(size):
    assert count_messages(tele.graphs.complete(size).at(0)) == size * (size - 1)


def _equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from _equations(inner)


@pytest.mark.parametrize("merged", [False, True])
def test_all_to_all_is_counted_without_looking_at_all_pairs(merged):
    """No step on the way holds more than a few numbers per slot."""
    mixing, nodes = tele.graphs.complete(1000).at(0), jnp.arange(1000)
    given = (nodes, nodes[::-1]) if merged else ()
    jaxpr = jax.make_jaxpr(count_messages)(mixing, *given).jaxpr
    sizes = [out.aval.size for eqn in _equations(jaxpr) for out in eqn.outvars]
    assert 1000 <= max(sizes) <= 4 * 1000


# 46,341² is above 2³¹ − 1, but 46,341 · 46,340 is not.
@pytest.mark.parametrize("size", [46_341, 100_000])
def test_the_count_is_exact_while_it_fits_and_then_the_largest_number(size):
    count = count_messages(tele.graphs.complete(size).at(0))
    assert count == min(size * (size - 1), MAX)


def test_more_messages_than_fit_in_several_rounds_are_the_largest_number():
    """40,000 · 39,999 fits once, but not twice."""
    repeated = tele.graphs.repeat(tele.graphs.complete(40_000), 2)
    assert count_messages(repeated.at(0)) == MAX
