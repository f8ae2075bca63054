"""What simulate refuses, in words."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tele_jax as tele
from tests import helpers
from tests.helpers import four_slots
from tests.test_metrics import Bare


@functools.cache
def _five_rounds():
    return four_slots(num_rounds=5)


@pytest.mark.parametrize(
    ("num_rounds", "eval_every", "nearest"),
    [(100, 30, 25), (100, 0, 1), (7, 3, 1), (10, 11, 10), (6, -1, 1), (1, 2, 1)],
)
def test_eval_every_must_divide(num_rounds, eval_every, nearest):
    message = f"eval_every={eval_every} must divide num_rounds={num_rounds}; try"
    with pytest.raises(ValueError, match=f"simulate: {message}") as raised:
        four_slots(num_rounds=num_rounds, eval_every=eval_every)
    proposed = re.findall(r"\d+", str(raised.value).split("try")[1])
    assert str(nearest) in proposed
    assert len(proposed) == min(2, num_rounds)  # every number > 1 has two divisors
    assert all(num_rounds % int(divisor) == 0 for divisor in proposed)


def test_too_few_rounds_are_refused():
    with pytest.raises(ValueError, match="num_rounds=-1, expected at least 0"):
        four_slots(num_rounds=-1)
    for num_rounds in (0, -1):
        message = f"num_rounds={num_rounds}, expected at least 1"
        with pytest.raises(ValueError, match=message):
            four_slots(num_rounds=num_rounds, resume=_five_rounds())


def test_a_schedule_that_is_too_short_is_refused():
    message = "step sizes for 4 rounds, expected at least 5; make the schedule longer"
    with pytest.raises(ValueError, match=message):
        four_slots(jnp.full(4, 0.1), num_rounds=5)
    message = "step sizes for 7 rounds, expected at least 8"
    with pytest.raises(ValueError, match=message):
        four_slots(jnp.full(7, 0.1), num_rounds=3, resume=_five_rounds())
    further = four_slots(jnp.full(8, 0.1), num_rounds=3, resume=_five_rounds())
    constant = four_slots(0.1, num_rounds=3, resume=_five_rounds())
    chex.assert_trees_all_close(further, constant, rtol=1e-6)


class LossPerCoordinate(Bare):
    def loss(self, params, batch):
        return (params - batch) ** 2


class LossOfTwoParts(Bare):
    def loss(self, params, batch):
        return jnp.sum(params - batch), jnp.zeros(2)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (LossPerCoordinate, r"float32\[3\]"),
        (LossOfTwoParts, r"float32\[\], float32\[2\]"),
    ],
)
def test_a_loss_that_is_not_a_scalar_is_refused(kind, shape):
    jax.tree_util.register_dataclass(kind, ["target"], [])
    with pytest.raises(
        ValueError, match=f"loss is {shape}, expected one floating-point number"
    ):
        four_slots(task=kind(jnp.ones((4, 3))), num_rounds=1)


def test_params_that_do_not_fit_the_task_are_refused():
    with pytest.raises(ValueError, match=r"Quadratic: got params of shape \(5,\)"):
        four_slots(params=jnp.ones(5), num_rounds=1)


def _resumable(num_slots=4, num_nodes=9, **settings):
    algorithm = tele.Teleportation(tele.graphs.ring(num_slots), 0.1, **settings)
    return algorithm, helpers.quadratic(num_nodes)


@pytest.mark.parametrize(
    ("algorithm", "task", "sentence"),
    [
        (*_resumable(num_nodes=3), "4 slots exceed the task's 3 nodes"),
        (*_resumable(num_slots=5), "the run to resume has the state"),
        (*_resumable(direction=helpers.MOMENTUM), "the run to resume has the state"),
        (tele.DSGD(tele.graphs.ring(9), 0.1), helpers.quadratic(9), "run to resume"),
    ],
)
def test_a_run_of_something_else_is_not_resumed(algorithm, task, sentence):
    before, its_task = _resumable()
    settings = {"num_rounds": 2, "eval_every": 1}
    start = (jnp.ones(3), jax.random.key(0))
    run = tele.simulate(before, its_task, *start, **settings)
    with pytest.raises(ValueError, match=sentence):
        tele.simulate(algorithm, task, *start, **settings, resume=run)


@pytest.mark.parametrize(
    ("learning_rate", "direction", "params", "sentence"),
    [
        (0.1, optax.trace(0.9), jnp.ones(3), "name the function of a .*Partial"),
        (jnp.ones((2, 3)), None, jnp.ones(3), r"step sizes of shape \(2, 3\)"),
        (0.1, None, jnp.ones(3, jnp.int32), "params is int32, expected floating"),
    ],
)
def test_numbers_that_are_none_are_refused(learning_rate, direction, params, sentence):
    algorithm, task = _resumable()
    algorithm = algorithm.replace(learning_rate=learning_rate)
    if direction is not None:
        algorithm = algorithm.replace(direction=direction)
    with pytest.raises(ValueError, match=sentence):
        tele.simulate(algorithm, task, params, jax.random.key(0), num_rounds=2)


@pytest.mark.parametrize("make", [tele.DSGD, tele.Teleportation])
@pytest.mark.parametrize(
    ("topology", "got"), [(0.1, "float"), (np.eye(2), "ndarray"), ("ring", "str")]
)
def test_what_is_no_topology_is_refused(make, topology, got):
    task = _resumable()[1]
    with pytest.raises(
        ValueError, match=f"^{make.__name__}: got a {got} as topology, expected one"
    ):
        tele.simulate(
            make(topology, 0.1), task, jnp.ones(3), jax.random.key(0), num_rounds=2
        )
