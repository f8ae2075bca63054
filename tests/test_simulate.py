"""simulate: what it returns, and that data stay arguments."""

import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jax.extend.core import jaxprs_in_params

import tele_jax as tele
from tele_jax.algorithms import base
from tests import helpers
from tests.helpers import four_slots
from tests.test_metrics import Bare


def test_no_rounds_are_the_start_evaluated():
    run = four_slots(num_rounds=0)
    assert run.rounds.tolist() == [0]
    chex.assert_shape([run.info.loss, run.info.messages], (0,))
    chex.assert_trees_all_equal(run.state.params, jnp.ones((4, 3)))
    task = helpers.quadratic(4)
    np.testing.assert_allclose(run.metrics["loss"], [task.objective(jnp.ones(3))])


def test_the_default_evaluates_at_the_start_and_at_the_end():
    run = four_slots(num_rounds=5)
    assert run.rounds.tolist() == [0, 5]
    chex.assert_shape(list(run.metrics.values()), (2,))
    chex.assert_shape([run.info.loss, run.info.messages], (5,))
    further = four_slots(num_rounds=4, eval_every=2, resume=run)
    assert further.rounds.tolist() == [7, 9]
    both = tele.concatenate(run, further)
    assert both.rounds.tolist() == [0, 5, 7, 9]
    chex.assert_shape([both.info.loss, both.info.messages], (9,))
    chex.assert_trees_all_equal(both.state, further.state)


def test_metrics_are_of_the_state_after_their_round():
    run = four_slots(num_rounds=4, eval_every=2, observe=helpers.whole_state)
    again = four_slots(num_rounds=2)
    chex.assert_trees_all_equal(run.metrics["slots"][1], again.state.params)
    chex.assert_trees_all_equal(run.metrics["slots"][2], run.state.params)


def test_divergence_is_data():
    run = four_slots(1e12, num_rounds=12)
    assert jnp.isfinite(run.info.loss[0])
    assert not jnp.isfinite(run.info.loss[-1])
    assert not jnp.isfinite(run.metrics["loss"][-1])
    chex.assert_shape(run.info.loss, (12,))


def test_resumed_runs_under_vmap_are_a_loop():
    algorithm = tele.Teleportation(tele.graphs.one_peer_exponential(4), 0.3)
    task = helpers.quadratic(9, noise=0.5)

    def run(key, resume=None):
        return tele.simulate(
            algorithm, task, jnp.ones(3), key, num_rounds=3, resume=resume
        )

    keys = jax.random.split(jax.random.key(1), 3)
    first = jax.vmap(run)(keys)
    together = tele.concatenate(first, jax.vmap(run)(keys, first))
    assert together.rounds.tolist() == [[0, 3, 6]] * 3
    for i, key in enumerate(keys):
        alone = run(key)
        alone = tele.concatenate(alone, run(key, alone))
        one = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        chex.assert_trees_all_close(one, alone, rtol=1e-5, atol=1e-6)


class Keeping(NamedTuple):
    params: Any
    start: Any
    again: Any


@struct.dataclass
class Hoarder:
    """An algorithm whose state holds what it was given, and that twice."""

    table: jax.Array

    def init(self, params, task):
        del task
        return Keeping(self.table, params, (self.table, params))

    def step(self, key, state, task, t):
        del key, task, t
        info = base.Info(jnp.float32(0), jnp.int32(0))
        return state._replace(params=state.params + 1), info


def test_what_the_caller_holds_is_never_written_over():
    task, params = helpers.quadratic(4), jnp.ones(3)
    hoarder, key = Hoarder(jnp.zeros((4, 3))), jax.random.key(0)
    go = functools.partial(tele.simulate, hoarder, task, params, key, num_rounds=2)
    run = go()
    more = go(resume=run)
    numbers = jax.tree.map(np.asarray, run)  # such as those of a checkpoint
    same = go(resume=numbers)
    chex.assert_trees_all_equal(more.state, same.state)
    for state, rounds in ((run.state, 2), (numbers.state, 2), (more.state, 4)):
        expected = np.full((4, 3), rounds)
        np.testing.assert_array_equal(state.params, expected)
        np.testing.assert_array_equal(state.again[0], 0 * expected)
        np.testing.assert_array_equal(state.again[1], np.ones(3))
    np.testing.assert_array_equal(params, np.ones(3))
    np.testing.assert_array_equal(hoarder.table, np.zeros((4, 3)))


def test_runs_that_go_on_share_the_program_of_the_first():
    run = four_slots(num_rounds=2)
    four_slots(num_rounds=2, resume=run)  # copies of its arrays are compiled
    with helpers.compilations() as compiled:
        for _ in range(3):
            run = four_slots(num_rounds=2, resume=run)
        four_slots(num_rounds=2, resume=jax.tree.map(np.asarray, run))
    assert compiled == []


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad])
def test_within_a_transformation_nothing_is_given_away(transform, recwarn):
    start, scale = jnp.ones(3), jnp.ones(2) if transform is jax.vmap else 1.0
    run = four_slots(num_rounds=1)

    def loss(scale):
        fresh = four_slots(scale, params=start, num_rounds=2)
        further = four_slots(scale, params=start, num_rounds=2, resume=run)
        return sum(one.metrics["loss"][-1] for one in (fresh, further))

    assert np.isfinite(transform(loss)(scale)).all()
    assert not recwarn.list  # of arrays that could not be written over
    assert np.isfinite(run.state.params).all()
    assert start.sum() == 3


def test_under_vmap_the_mixing_of_a_round_is_not_batched():
    # Otherwise every run of a sweep would gather with indices of its own.
    topology = tele.graphs.one_peer_exponential(4)
    task = helpers.quadratic(4)

    def run(key, resume):
        algorithm = tele.DSGD(topology, 0.3)
        return tele.simulate(
            algorithm, task, jnp.ones(3), key, num_rounds=2, resume=resume
        )

    keys = jax.random.split(jax.random.key(1), 7)
    first = jax.vmap(lambda key: run(key, None))(keys)
    program = jax.make_jaxpr(jax.vmap(run))(keys, first).jaxpr
    integers = {
        variable.aval.shape
        for equation in _equations(program)
        for variable in equation.outvars
        if getattr(variable.aval, "dtype", None) == jnp.int32
    }
    assert (2, 4) in integers  # the senders of a round
    assert (7, 2, 4) not in integers


def _equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from _equations(inner)


def test_data_are_arguments_and_never_constants():
    task = Bare(jax.random.normal(jax.random.key(0), (4, 250_000)))  # 10⁶ numbers
    algorithm = tele.DSGD(tele.graphs.ring(4), 0.1)
    params = jnp.ones(250_000)

    def run(task):
        return tele.simulate(algorithm, task, params, jax.random.key(0), num_rounds=2)

    # The programs that simulate makes itself get the data, and close over nothing.
    program = jax.make_jaxpr(lambda: run(task))().jaxpr
    calls = {eqn.params["name"]: eqn for eqn in program.eqns if "name" in eqn.params}
    for name in ("_begin", "_advance"):
        call = calls[name]
        assert any(variable.aval.size == 10**6 for variable in call.invars)
        assert call.params["jaxpr"].consts == []
    # As text, a number takes two characters or more.
    assert len(jax.jit(run).lower(task).as_text()) < 10**6


def _scaled(factor, slots, task):
    del task
    return {"scaled": factor * slots.sum()}


def test_observe_as_a_partial_does_not_compile_again():
    def run(factor):
        observe = helpers.Partial(_scaled, factor)
        run = four_slots(num_rounds=3, observe=observe)
        return jax.block_until_ready(run)

    once = run(2.0)
    with helpers.compilations() as compiled:
        twice = run(4.0)
    assert compiled == []
    np.testing.assert_allclose(twice.metrics["scaled"], 2 * once.metrics["scaled"])
    np.testing.assert_allclose(once.metrics["scaled"][0], 2.0 * 12)


def test_past_the_end_of_a_schedule_a_batched_run_is_nan_not_wrong():
    algorithm = tele.Teleportation(tele.graphs.ring(4), 0.1)
    task = helpers.quadratic(9)

    def run(key, resume, num_rounds):
        return tele.simulate(
            algorithm.replace(learning_rate=jnp.full(2, 0.1)),
            task,
            jnp.ones(3),
            key,
            num_rounds=num_rounds,
            resume=resume,
        )

    keys = jax.random.split(jax.random.key(0), 2)
    first = jax.vmap(lambda key: run(key, None, 2))(keys)
    assert np.isfinite(first.state.params).all()
    further = jax.vmap(lambda key, resume: run(key, resume, 1))(keys, first)
    assert np.isnan(further.state.params).all()


def test_classes_of_equal_shape_keep_their_own_programs():
    # jax 0.10 takes the dataclasses for equal, and by chance one for another.
    def make(factor):
        @struct.dataclass
        class Task:
            targets: jax.Array
            num_nodes: int = struct.field(pytree_node=False, default=2)

            def sample(self, key, node, count):
                del key, count
                return self.targets[node]

            def loss(self, params, batch):
                return factor * jnp.sum((params - batch) ** 2)

        return Task(jnp.zeros((2, 3)))

    algorithm, key = tele.DSGD(tele.graphs.ring(2), 0.0), jax.random.key(0)
    for factor in range(1, 31):
        run = tele.simulate(algorithm, make(factor), jnp.ones(3), key, num_rounds=1)
        assert float(run.info.loss[0]) == 3 * factor
