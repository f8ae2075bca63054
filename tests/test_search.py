"""Algorithm 2: each block is a plain run, and the best of them is returned."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jax.tree_util import Partial

import tele_jax as tele
from tests import helpers, oracles
from tests.test_metrics import Bare

KEY = jax.random.key(3)
RATE, ROUNDS = 0.2, 6


def found(task, rate=RATE, build=tele.graphs.ring, key=KEY, **settings):
    settings = {"num_rounds": ROUNDS, **settings}
    return tele.search(build, task, jnp.ones(3), key, rate, **settings)


def plain(task, num_slots, build=tele.graphs.ring, direction=None, **settings):
    algorithm = tele.Teleportation(build(num_slots), RATE)
    if direction is not None:
        algorithm = algorithm.replace(direction=direction)
    return tele.simulate(
        algorithm, task, jnp.ones(3), KEY, num_rounds=ROUNDS, **settings
    )


@pytest.mark.parametrize("build", [tele.graphs.ring, tele.graphs.complete])
def test_a_union_of_one_block_is_a_plain_run(build):
    task = helpers.quadratic(9, noise=0.5)
    searched = found(task, build=build, candidates=(5,), eval_every=2)
    run = plain(task, 5, build, eval_every=2, observe=tele.metrics.mean_model)
    chex.assert_trees_all_close(
        searched.best_model, run.state.params.mean(axis=0), rtol=1e-6
    )
    assert searched.rounds.tolist() == [0, 2, 4, 6]
    of_one = jax.tree.map(lambda leaf: leaf[0], searched.metrics)
    chex.assert_trees_all_close(of_one, run.metrics, rtol=1e-5)
    np.testing.assert_array_equal(searched.messages[0], run.info.messages)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("graph", ["ring", "one_peer_exponential"])
def test_every_block_is_algorithm_1_on_its_part_of_the_draw(graph, momentum):
    # The oracle, a float64 double loop, is told which nodes the block was given.
    task, build = helpers.quadratic(12, noise=0.5), helpers.GRAPHS[graph]
    settings = {"direction": helpers.MOMENTUM} if momentum else {}
    searched = found(task, build=build, **settings)
    assert searched.waves == ((1, 2, 4), (8,))
    place = 0
    for wave in searched.waves:
        drawn, end = oracles.draws(3, 12, sum(wave)), 0
        for k in wave:
            begin, end = end, end + k
            history = oracles.teleportation(
                tele.to_matrices(build(k)),
                oracles.gradients(task, 3),
                lambda t, drawn=drawn, part=slice(begin, end): drawn(t)[part],
                np.ones(3),
                RATE,
                ROUNDS,
                momentum,
            )
            model = searched.models[place]
            np.testing.assert_allclose(model, history[-1].mean(axis=0), rtol=1e-5)
            place += 1


def test_the_nodes_of_a_block_are_a_draw_without_replacement():
    # One step of size 1 leaves slot a at b of its node: the mean of a block of k has
    # the variance ζ²/k (1 − (k−1)/(n−1)) of a plain draw, whatever runs beside it.
    num_nodes, num_runs = 9, 3000
    task = tele.tasks.equal_hessians(
        jax.random.key(0), num_nodes=num_nodes, dim=3, heterogeneity=2.0
    )
    keys = jax.random.split(jax.random.key(1), num_runs)
    runs = jax.vmap(lambda key: found(task, 1.0, key=key, num_rounds=1))(keys)
    distance = np.sum((np.asarray(runs.models) - np.asarray(task.optimum())) ** 2, -1)
    for place, k in enumerate(runs.candidates):
        expected = tele.theory.variance_factor(num_nodes, k) * 4 / k
        error = distance[:, place].std(ddof=1) / num_runs**0.5
        assert abs(distance[:, place].mean() - expected) < 5 * error
        assert error < 0.05 * expected


@pytest.mark.parametrize(
    "build",
    [
        tele.graphs.complete,
        lambda k: tele.graphs.random_matching(k, KEY),
        lambda k: tele.graphs.el_local(k, 1, KEY),
        lambda k: tele.graphs.repeat(tele.graphs.ring(k), 2),
    ],
    ids=["complete", "random", "senders choose", "repeated"],
)
def test_nodes_of_a_wave_are_distinct_in_every_form_of_gossip(build):
    # One step of size 1 puts every slot on b of its node, and gossip that preserves
    # the mean leaves the sum over the blocks of a wave with all nodes at the sum of b.
    task = tele.tasks.equal_hessians(jax.random.key(0), num_nodes=7, dim=3)
    searched = found(task, 1.0, build=build, num_rounds=1)
    assert searched.waves == ((1, 2, 4), (7,))
    if build(4).period is None and build(4).at(0).weights.ndim == 2:
        matrix = tele.to_matrices(build(4), 1)[0]
        if not np.allclose(matrix.sum(axis=1), 1):  # el_local moves the mean
            return
    total = sum(k * searched.models[i] for i, k in enumerate((1, 2, 4)))
    np.testing.assert_allclose(total, task.target.sum(axis=0), atol=1e-5)
    np.testing.assert_allclose(searched.models[3], task.optimum(), atol=1e-5)


def test_the_cost_is_counted():
    searched = found(helpers.quadratic(25))
    assert searched.waves == ((1, 2, 4, 8), (16,))
    assert searched.total_rounds == 2 * ROUNDS
    assert searched.most_active == 16
    assert f"{2 * ROUNDS} rounds in 2 waves, at most 16 nodes" in searched.table()
    # Round 0 fetches nothing. Later a slot pulls from itself and its neighbours, of
    # whom blocks of 1, 2, 4, 8 have 0, 1, 2, 2: less the few who pull from themselves.
    chex.assert_shape(searched.messages, (2, ROUNDS))
    assert searched.messages[:, 0].tolist() == [0, 0]
    pulled = np.array([[1 + 2 * 2 + 4 * 3 + 8 * 3], [16 * 3]])
    expected = pulled * (1 - 1 / 25)
    assert (np.asarray(searched.messages[:, 1:]) <= pulled).all()
    np.testing.assert_allclose(
        np.mean(searched.messages[:, 1:], axis=1, keepdims=True), expected, atol=3
    )
    small = found(helpers.quadratic(31))
    assert (small.waves, small.most_active) == (((1, 2, 4, 8, 16), (31,)), 31)
    crowded = found(helpers.quadratic(9), candidates=[2, 3, 4])
    assert (crowded.waves, crowded.most_active) == (((2, 3, 4),), 9)
    alone = found(helpers.quadratic(1))
    assert (alone.waves, alone.total_rounds, alone.most_active) == (((1,),), ROUNDS, 1)


def test_a_sweep_is_a_loop_and_a_new_step_size_compiles_nothing():
    task = helpers.quadratic(6, noise=0.5)
    keys, rates = jax.random.split(KEY, 2), jnp.array([0.05, 0.2])

    def one(key, rate):
        return found(task, rate, key=key)

    swept = jax.vmap(jax.vmap(one, (None, 0)), (0, None))(keys, rates)
    chex.assert_shape(swept.scores, (2, 2, 3))  # k = 1, 2 and 4
    chex.assert_shape(swept.best_model, (2, 2, 3))
    for i, key in enumerate(keys):
        for j, rate in enumerate(rates):
            alone = one(key, rate)
            chex.assert_trees_all_close(swept[i, j], alone, rtol=1e-5)
    key, rate = keys[0], jnp.float32(0.01)
    with helpers.compilations() as compiled:
        one(key, rate)
    assert compiled == []
    with pytest.raises(ValueError, match=r"^Search.table: got searches of shape \(2,"):
        swept.table()
    assert [one.best_k.shape for one in swept] == [(2,), (2,)]
    assert repr(swept[1, 0]) == swept[1, 0].table()
    assert repr(swept).startswith("2 × 2 searches among k = 1, 2, 4; the best k of ")
    assert str(np.asarray(swept.best_k)[0, 0]) in repr(swept).splitlines()[1]
    with pytest.raises(IndexError, match=r"^Search: .*a sweep of 2 × 2 searches"):
        swept[2]
    with pytest.raises(TypeError, match=r"^Search: got an index, but this"):
        swept[0, 0][0]


def test_the_best_score_wins():
    task = helpers.quadratic(9, noise=0.5)
    searched = found(task)
    losses = [float(task.objective(model)) for model in searched.models]
    np.testing.assert_allclose(searched.scores, -np.array(losses), rtol=1e-6)
    place = int(np.argmin(losses))
    assert int(searched.best_k) == searched.candidates[place]
    chex.assert_trees_all_equal(searched.best_model, searched.models[place])
    assert f"| {searched.best_k} | " in searched.table()
    assert searched.table().count("best") == 1
    worst = found(task, score=lambda model, task: task.objective(model))
    assert int(worst.best_k) == worst.candidates[int(np.argmax(losses))]


def test_the_curve_of_every_candidate_ends_at_its_model():
    task = helpers.quadratic(6, noise=0.5)
    searched = found(task)
    assert searched.waves == ((1, 2), (4,))
    last = [float(task.objective(model)) for model in searched.models]
    assert len(set(last)) == 3
    np.testing.assert_allclose(searched.metrics["loss"][:, -1], last, rtol=1e-6)


def test_a_candidate_without_a_score_is_never_chosen():
    task = helpers.quadratic(9, noise=0.5)
    best = found(task).best_model

    def score(best, model, task):
        return jnp.where(jnp.allclose(model, best), jnp.nan, -task.objective(model))

    searched = found(task, score=Partial(score, best))
    order = np.argsort(-np.asarray(found(task).scores))
    assert int(searched.best_k) == searched.candidates[order[1]]
    assert searched.table().count("diverged") == 1


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_where_all_diverge_there_is_no_winner(bad):
    task = helpers.quadratic(4)
    searched = found(task, score=lambda model, task: bad)
    assert int(searched.best_k) == 0
    assert np.isnan(searched.best_model).all()
    assert searched.table().count("diverged") == 4
    assert "No winner" in searched.table()
    diverged = found(task, 1e30, num_rounds=20)
    assert int(diverged.best_k) == 0


def _classified(rate):
    data = tele.tasks.datasets.digits()
    owners = tele.tasks.partition.iid(data.train_labels, num_nodes=5, seed=0)
    model = tele.tasks.models.by_name("softmax")
    task = tele.tasks.classification(data, owners, model, batch_size=8)
    params = model.init(jax.random.key(0), data.train_inputs[:1])
    searched = tele.search(
        tele.graphs.ring, task, params, KEY, rate, num_rounds=4, candidates=(1, 4)
    )
    chex.assert_trees_all_equal_shapes(searched.best_model, params)
    return searched


def test_networks_are_chosen_by_their_accuracy():
    searched = _classified(0.5)
    chex.assert_trees_all_equal(searched.scores, searched.metrics["accuracy"][:, -1])


def test_networks_that_diverged_have_no_accuracy():
    # The model that is all NaN calls everything a 0, and is right one time in ten.
    searched = _classified(jnp.nan)
    assert (searched.metrics["accuracy"][:, -1] > 0.05).all()
    assert np.isnan(searched.scores).all()
    assert int(searched.best_k) == 0


class Nothing:
    num_nodes = 4


@struct.dataclass
class OfPerplexity(Bare):
    def evaluate(self, params):
        return {"perplexity": jnp.sum(params)}


def test_a_family_that_is_none_is_refused():
    task = helpers.quadratic(4)
    with pytest.raises(ValueError, match="got a Periodic as build, expected a functio"):
        found(task, build=tele.graphs.ring(4))
    with pytest.raises(ValueError, match=r"build\(1\) gives 2 slots, expected 1; pass"):
        found(task, build=lambda k: tele.graphs.ring(k + 1))


def test_what_cannot_be_compared_is_refused():
    scored = {"num_rounds": 1, "candidates": (1,)}
    task = OfPerplexity(jnp.ones((4, 3)))
    with pytest.raises(ValueError, match=r"measures perplexity, expected accuracy"):
        found(task, **scored)
    with pytest.raises(ValueError, match=r"Nothing offers neither.*pass score="):
        found(Nothing())
    with pytest.raises(ValueError, match="got num_rounds=0, expected at least 1"):
        found(helpers.quadratic(4), num_rounds=0)
    with pytest.raises(ValueError, match=r"has the shape \(2,\), expected one number"):
        found(helpers.quadratic(4), score=lambda model, task: model[:2], **scored)
