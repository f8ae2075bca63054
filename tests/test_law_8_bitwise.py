"""Law 8, bit by bit: chunked runs are whole runs, resumed ones were never interrupted.

Apart from the other laws, because it needs programs as users run them.
"""

import chex
import jax
import jax.numpy as jnp
import pytest

import tele_jax as tele
from tests import helpers
from tests.test_laws import SEED, build, every_algorithm, every_path

# How machine code is generated may change the last bit.
pytestmark = pytest.mark.usefixtures("optimized")


@every_algorithm
@every_path
def test_law_8_chunks_and_resumed_runs_are_bitwise_the_whole(algorithm, graph):
    _resume_in_the_middle(algorithm, graph, eval_every=1)


@every_algorithm
def test_law_8_holds_where_evaluations_are_rare(algorithm):
    _resume_in_the_middle(algorithm, "ring", eval_every=3)


def _resume_in_the_middle(algorithm, graph, eval_every):
    built, _ = build(algorithm, graph, 8)
    task = helpers.quadratic(helpers.num_nodes(algorithm, 8), noise=0.5)

    def run(num_rounds, resume=None):
        return tele.simulate(
            built,
            task,
            jnp.ones(3),
            jax.random.key(SEED),
            num_rounds=num_rounds,
            eval_every=eval_every,
            resume=resume,
        )

    whole = run(6)
    first = run(3)
    chex.assert_trees_all_equal(whole, tele.concatenate(first, run(3, first)))


@every_algorithm
def test_law_8_evaluating_less_often_changes_nothing_but_what_is_seen(algorithm):
    built, _ = build(algorithm, "one_peer_exponential", 8)
    task = helpers.quadratic(helpers.num_nodes(algorithm, 8), noise=0.5)
    often, seldom = (
        tele.simulate(
            built,
            task,
            jnp.ones(3),
            jax.random.key(SEED),
            num_rounds=6,
            eval_every=eval_every,
        )
        for eval_every in (1, 6)
    )
    chex.assert_trees_all_equal(often.state, seldom.state)
    chex.assert_trees_all_equal(often.info, seldom.info)
