"""What all builders refuse."""

import math

import jax
import networkx as nx
import numpy as np
import pytest

import tele_jax as tele

KEY = jax.random.key(0)

BY_SIZE = {
    "ring": tele.graphs.ring,
    "chain": tele.graphs.chain,
    "star": tele.graphs.star,
    "complete": tele.graphs.complete,
    "hypercube": tele.graphs.hypercube,
    "exponential": tele.graphs.exponential,
    "barbell": tele.graphs.barbell,
    "one_peer_exponential": tele.graphs.one_peer_exponential,
    "one_peer_hypercube": tele.graphs.one_peer_hypercube,
    "hyper_hypercube": lambda k: tele.graphs.hyper_hypercube(k, 1),
    "simple_base_graph": lambda k: tele.graphs.simple_base_graph(k, 1),
    "base_graph": lambda k: tele.graphs.base_graph(k, 1),
    "erdos_renyi": lambda k: tele.graphs.erdos_renyi(k, 0.5, 0),
    "random_regular": lambda k: tele.graphs.random_regular(k, 2, 0),
    "watts_strogatz": lambda k: tele.graphs.watts_strogatz(k, 2, 0.1, 0),
    "d_equistatic": lambda k: tele.graphs.d_equistatic(
        k, 2, 0, allow_disconnected=True
    ),
    "u_equistatic": lambda k: tele.graphs.u_equistatic(
        k, 2, 0, allow_disconnected=True
    ),
    "od_equidyn": lambda k: tele.graphs.od_equidyn(k, KEY),
    "ou_equidyn": lambda k: tele.graphs.ou_equidyn(k, KEY),
    "random_matching": lambda k: tele.graphs.random_matching(k, KEY),
    "randomized_gossip": lambda k: tele.graphs.randomized_gossip(k, KEY),
    "el_oracle": lambda k: tele.graphs.el_oracle(k, 2, KEY),
    "el_local": lambda k: tele.graphs.el_local(k, 2, KEY),
}
every_builder = pytest.mark.parametrize("name", BY_SIZE)


@every_builder
@pytest.mark.parametrize("size", [0, -3])
def test_no_slots_are_refused(name, size):
    with pytest.raises(
        ValueError, match=rf"^{name}: needs at least 1 slot, got {size}\.$"
    ):
        BY_SIZE[name](size)


@every_builder
@pytest.mark.parametrize("size", [2.5, 4.0, "4", None])
def test_a_size_that_is_no_whole_number_is_refused(name, size):
    message = rf"^{name}: got {size!r}, expected a whole number >= 1 of slots\.$"
    with pytest.raises(ValueError, match=message):
        BY_SIZE[name](size)


@every_builder
def test_a_whole_number_of_numpy_is_a_size(name):
    topology = BY_SIZE[name](np.int32(4))
    assert type(topology.num_slots) is int
    assert jax.tree.structure(topology) == jax.tree.structure(BY_SIZE[name](4))


@pytest.mark.parametrize(
    "name", ["hyper_hypercube", "simple_base_graph", "base_graph", "random_regular"]
)
@pytest.mark.parametrize(
    ("degree", "message"),
    [
        (0, r"got degree=0, expected at least 1\.$"),
        (-1, r"got degree=-1, expected at least 1\.$"),
        (1.5, r"got 1\.5, expected a whole number >= 1 as degree\.$"),
    ],
)
def test_a_degree_below_one_is_refused(name, degree, message):
    seed = (0,) if name == "random_regular" else ()
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        getattr(tele.graphs, name)(8, degree, *seed)


@pytest.mark.parametrize(
    "build",
    [
        lambda key: tele.graphs.random_matching(4, key),
        lambda key: tele.graphs.randomized_gossip(4, key),
        lambda key: tele.graphs.el_oracle(4, 2, key),
        lambda key: tele.graphs.el_local(4, 2, key),
        lambda key: tele.graphs.od_equidyn(4, key),
        lambda key: tele.graphs.ou_equidyn(4, key),
        lambda key: tele.graphs.matcha(nx.cycle_graph(4), 0.5, key),
        lambda key: tele.graphs.randomly_relabel(tele.graphs.ring(4), key),
    ],
)
def test_a_seed_is_no_key(build):
    with pytest.raises(
        ValueError, match=r"^\w+: got 7 as key, expected a random key; make one with"
    ):
        build(7)


@pytest.mark.parametrize(
    "build",
    [
        lambda seed: tele.graphs.erdos_renyi(4, 0.9, seed),
        lambda seed: tele.graphs.random_regular(4, 2, seed),
        lambda seed: tele.graphs.watts_strogatz(5, 2, 0.5, seed),
        lambda seed: tele.graphs.d_equistatic(5, 2, seed),
        lambda seed: tele.graphs.u_equistatic(5, 2, seed),
    ],
)
def test_a_key_is_no_seed(build):
    with pytest.raises(
        ValueError, match=r"^\w+: got \w+, expected a whole number >= 0"
    ):
        build(KEY)
    with pytest.raises(ValueError, match=r"^\w+: got seed=-1, expected at least 0\.$"):
        build(-1)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0.5, math.nan], [0.5, 0.5]], "round 0, row 0, column 1 is nan, expected a"),
        ([[1.5, -0.5], [-0.5, 1.5]], r"round 0, row 0, column 1 is -0\.5, expected a"),
        (
            [[0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]],
            r"round 0 has 0\.5 in row 0, column 1 and 0 in row 1, column 0, expected "
            r"the same; pass symmetric=False if W is directed\.$",
        ),
    ],
)
def test_matrices_that_break_their_promise_are_refused(matrix, message):
    with pytest.raises(ValueError, match=f"^from_matrices: {message}"):
        tele.from_matrices(np.array(matrix), symmetric=True)


def test_a_promised_symmetry_is_found_wherever_it_is_broken():
    circle = np.roll(np.eye(4), 1, axis=1)
    rounds = np.stack([np.eye(4), (np.eye(4) + circle) / 2])
    with pytest.raises(ValueError, match=r"^from_matrices: round 1 has"):
        tele.from_matrices(rounds, symmetric=True)
    assert tele.from_matrices(rounds).period == 2  # not promised
    both = (rounds + rounds.transpose(0, 2, 1)) / 2
    accepted = tele.from_matrices(both, symmetric=True)
    np.testing.assert_array_equal(tele.to_matrices(accepted), both)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: tele.graphs.random_regular(12, 4, jax.random.key(0)),
            r"random_regular: got .*, expected a whole number >= 0 as seed\.$",
        ),
        (
            lambda: tele.graphs.erdos_renyi(12, 0.5, -1),
            r"erdos_renyi: got seed=-1, expected at least 0\.$",
        ),
        (
            lambda: tele.graphs.random_matching(12, 0),
            r"random_matching: got 0 as key, expected a random key; make one with "
            r"jax\.random\.key\(seed\)\.$",
        ),
        (
            lambda: tele.graphs.matcha(nx.path_graph(3), jax.random.key(0), 0.5),
            r"matcha: got budget=.*, expected 0 < budget <= 1\.$",
        ),
        (
            lambda: tele.graphs.disjoint_union([tele.graphs.ring(3)]),
            r"disjoint_union: got a list, expected topologies; pass them one by one",
        ),
        (
            lambda: tele.graphs.relabel(np.arange(3), tele.graphs.ring(3)),
            r"relabel: got ndarray, expected the topology first\.$",
        ),
        (
            lambda: tele.graphs.od_equidyn(5, jax.random.key(0), float("nan")),
            r"od_equidyn: got eta=nan, expected 0 < eta <= 1\.$",
        ),
    ],
)
def test_seeds_keys_and_arguments_in_the_wrong_place_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
