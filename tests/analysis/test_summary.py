"""Predicted rounds hold, and the table says what was measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele

KEY = jax.random.key(0)
analysis, graphs = tele.analysis, tele.graphs


def _disagreement(x):
    return np.linalg.norm(x - x.mean(axis=0))


@pytest.mark.parametrize(
    ("topology", "tight"),
    [
        (graphs.ring(9), True),  # symmetric: the worst start needs every round of it
        (graphs.torus(3, 4), True),
        (graphs.exponential(12), True),  # normal: so does it here
        (graphs.one_peer_exponential(12), False),
        (graphs.erdos_renyi(15, 0.4, seed=0), True),
    ],
)
def test_after_the_predicted_rounds_the_worst_start_agrees_to_epsilon(topology, tight):
    epsilon, matrices = 1e-2, tele.to_matrices(topology)
    rounds = analysis.predicted_rounds(topology, epsilon)
    product = np.linalg.multi_dot([*matrices, np.eye(topology.num_slots)])
    left, _, _ = np.linalg.svd(product - 1 / topology.num_slots)
    x = left[:, 0]
    start, errors = _disagreement(x), []
    for t in range(rounds):
        x = matrices[t % len(matrices)].T @ x
        errors.append(_disagreement(x))
    assert errors[-1] <= epsilon * start * (1 + 1e-6)
    if tight:
        assert errors[-2] > epsilon * start


def test_a_finite_time_graph_needs_no_more_than_its_period():
    for epsilon in (0.5, 1e-3, 1e-6):
        assert analysis.predicted_rounds(graphs.base_graph(25, 1), epsilon) == 9
        assert analysis.predicted_rounds(graphs.complete(25), epsilon) == 1
    # Weights are rounded to float32: below that, a second period is needed.
    assert analysis.predicted_rounds(graphs.base_graph(25, 1), 1e-9) == 18


def test_fast_is_not_exact():
    # λ₂ = (1 + 2 cos 72°)/3 = 0.539, and 0.539²⁰ = 4e-6.
    often = graphs.repeat(graphs.ring(5), 20)
    assert analysis.exact_after(often) is None
    assert analysis.predicted_rounds(often, 1e-9) == 2


def test_rounding_is_no_contraction():
    for apart in (
        graphs.disjoint_union(graphs.complete(25), graphs.complete(25)),
        graphs.disjoint_union(*(graphs.random_matching(k, KEY) for k in (4, 6))),
    ):
        assert analysis.predicted_rounds(apart, 1e-3) is None


def test_what_never_agrees_has_no_number_of_rounds():
    apart = graphs.disjoint_union(graphs.ring(3), graphs.ring(4))
    assert analysis.predicted_rounds(apart, 0.5) is None


def test_random_rounds_are_predicted_in_mean_square():
    topology = graphs.random_matching(16, KEY)
    rounds = analysis.predicted_rounds(topology, 1e-2)
    assert rounds == int(np.ceil(2 * np.log(1e-2) / np.log(1 - 16 / 30)))

    def run(seed):
        shuffled = graphs.random_matching(16, jax.random.fold_in(KEY, seed))

        def gossip(x, t):
            return tele.gossip.mix(shuffled.at(t), x), None

        x = jax.random.normal(jax.random.key(5), (16,))
        end, _ = jax.lax.scan(gossip, x, jnp.arange(rounds))
        return jnp.sum((end - x.mean()) ** 2) / jnp.sum((x - x.mean()) ** 2)

    squares = np.asarray(jax.vmap(run)(jnp.arange(2000)), np.float64)
    expected = (1 - 16 / 30) ** rounds
    error = squares.std(ddof=1) / np.sqrt(len(squares))
    assert abs(squares.mean() - expected) < 5 * error
    assert expected <= 1e-4 < expected / (1 - 16 / 30)


@pytest.mark.parametrize("epsilon", [0.0, 1.0, -1.0, float("nan")])
def test_epsilon_is_between_0_and_1(epsilon):
    with pytest.raises(ValueError, match=r"got epsilon=.*, expected 0 < epsilon"):
        analysis.predicted_rounds(graphs.ring(4), epsilon)


def test_a_summary_is_made_of_the_other_functions():
    topology = graphs.base_graph(6, 1)
    got = analysis.summary(topology, epsilon=0.1)
    each = [tele.contraction(topology, start=t, num_rounds=1) for t in range(4)]
    assert got == (6, 4, 1, 1, got.messages, np.mean(each), got.contraction, 4, 4)
    # Rounds 01, 34; 12, 45; 01, 34; 03, 14, 25: two messages for each pair.
    np.testing.assert_allclose(got.messages, 2 * (2 + 2 + 2 + 3) / 4)
    np.testing.assert_allclose(got.contraction, 1.0, atol=1e-6)


def test_the_table_has_a_row_for_every_topology():
    topologies = {
        "ring": graphs.ring(8),
        "apart": graphs.disjoint_union(graphs.ring(4), graphs.ring(4)),
        "matching": graphs.random_matching(8, KEY),
    }
    title, rule, *rows = analysis.table(topologies, epsilon=0.01).splitlines()
    assert rule.count("---") == title.count("|") - 1
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert [row[0] for row in cells] == list(topologies)
    assert cells[0][1:6] == ["8", "1", "2", "2", "16"]
    assert cells[1][6:] == ["0.0000", "0.0000", "–", "–"]
    assert cells[2][2] == "random"
    assert abs(float(cells[2][7]) - 4 / 7) < 0.05


@pytest.mark.parametrize("topologies", [graphs.ring(4), [graphs.ring(4)]])
def test_a_table_of_topologies_without_names_is_refused(topologies):
    with pytest.raises(ValueError, match=r"^table: got a .*, expected names to"):
        analysis.table(topologies)
