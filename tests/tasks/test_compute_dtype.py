"""Networks computed in bfloat16, with all that is kept in float32."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import struct

import tele_jax as tele
from tele_jax.tasks import classification, datasets, models, partition
from tele_jax.tasks.models import LeNet
from tele_jax.tasks.models.layers import GroupNorm
from tests.tasks.models.test_models import (
    ReferenceLeNet,
    outputs_and_gradient,
    perturbed,
)

DIGITS = datasets.digits()
SPLIT = partition.iid(DIGITS.train_labels, 4, seed=0)


def _task(compute_dtype, model="mlp", **options):
    if isinstance(model, str):
        model = models.by_name(model)
    return classification(
        DIGITS, SPLIT, model, batch_size=8, compute_dtype=compute_dtype, **options
    )


def _params(task):
    return task.model.init(jax.random.key(0), task.inputs[:1])


@pytest.mark.parametrize("given", [jnp.bfloat16, "bfloat16", jnp.dtype("bfloat16")])
def test_the_model_computes_in_it_and_nothing_else_does(given):
    task, plain = _task(given), _task(None)
    params = _params(task)
    batch = task.sample(jax.random.key(1), jnp.int32(0), None)
    short = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (params, batch[0]))
    logits = task.model.apply(*short)
    assert logits.dtype == jnp.bfloat16
    chosen = jax.nn.log_softmax(logits.astype(jnp.float32))[jnp.arange(8), batch[1]]
    value, gradient = task.value_and_grad(params, batch)
    chex.assert_trees_all_close(value, -chosen.mean(), rtol=1e-6)
    chex.assert_trees_all_equal_dtypes(gradient, params)
    expected = plain.value_and_grad(params, batch)
    # Eight bits of mantissa: off by some thousandths, but off.
    chex.assert_trees_all_close((value, gradient), expected, atol=5e-3)
    assert float(value) != float(expected[0])


def test_parameters_and_gossip_stay_in_float32():
    """With step size 0 a round is nothing but gossip: the same bits in both."""
    params = _params(_task(None))
    slots = jax.tree.map(
        lambda leaf: jax.random.normal(jax.random.key(2), (4, *leaf.shape)), params
    )

    def simulated(task):
        algorithm = tele.DSGD(tele.graphs.ring(4), 0.0)
        run = tele.simulate(algorithm, task, params, jax.random.key(1), num_rounds=1)
        run = run.replace(state=run.state._replace(params=slots))
        return tele.simulate(
            algorithm, task, params, jax.random.key(1), num_rounds=2, resume=run
        ).state.params

    got, expected = simulated(_task(jnp.bfloat16)), simulated(_task(None))
    chex.assert_trees_all_equal(got, expected)


def test_a_network_learns_as_well():
    def accuracy(compute_dtype):
        task = _task(compute_dtype, examples_at_once=4)
        algorithm = tele.Teleportation(tele.graphs.ring(3), 0.2)
        run = tele.simulate(
            algorithm, task, _params(task), jax.random.key(1), num_rounds=150
        )
        return float(run.metrics["accuracy"][-1])

    expected = accuracy(None)
    assert expected > 0.85
    assert abs(accuracy(jnp.bfloat16) - expected) < 0.03


@struct.dataclass
class Lookup:
    """Logits from integers: the rows that they name."""

    def apply(self, params, inputs):
        assert inputs.dtype == jnp.int32
        return params[inputs[:, 0]]


def test_integers_are_left_alone():
    rows = np.arange(12, dtype=np.int32)[:, None] % 3
    data = datasets.Dataset(rows, rows[:, 0], rows, rows[:, 0])
    owners = partition.iid(data.train_labels, 2, seed=0)
    task = classification(
        data, owners, Lookup(), batch_size=2, compute_dtype=jnp.bfloat16
    )
    assert float(task.evaluate(jnp.eye(3))["accuracy"]) == 1.0


@pytest.mark.parametrize(
    "wrong", ["bfloat17", jnp.int8, 16, "float8_e4m3fn", jnp.float16, float]
)
def test_what_is_no_float_is_refused(wrong):
    with pytest.raises(ValueError, match=r"compute_dtype=.*expected jnp.bfloat16"):
        _task(wrong)


@pytest.mark.parametrize("of_params", [jnp.float32, jnp.bfloat16])
def test_group_norm_is_that_of_flax_in_bfloat16(of_params):
    ours, flaxs = GroupNorm(2), nn.GroupNorm(2, epsilon=1e-5)
    maps = 100 + jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
    params = jax.tree.map(
        lambda leaf: leaf.astype(of_params), ours.init(jax.random.key(1), maps)
    )
    short = maps.astype(jnp.bfloat16)
    got, expected = ours.apply(params, short), flaxs.apply(params, short)
    chex.assert_trees_all_equal_dtypes(got, expected)
    chex.assert_trees_all_close(got, expected, atol=0.02)


def test_lenet_in_bfloat16_is_as_far_from_float32_as_that_of_flax():
    """Its own product and layout lose no more than flax's layers do."""
    ours, flaxs = LeNet(), ReferenceLeNet()
    inputs = jax.random.normal(jax.random.key(1), (8, 28, 28))
    params = perturbed(models.Linen(ours).init(jax.random.key(0), inputs))
    short = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (params, inputs))
    exact, _ = outputs_and_gradient(flaxs, params, inputs)

    def error(module):
        logits, gradient = outputs_and_gradient(module, *short)
        chex.assert_trees_all_equal_dtypes(gradient, short[0])
        assert logits.dtype == jnp.bfloat16
        return float(jnp.linalg.norm(logits - exact) / jnp.linalg.norm(exact))

    assert 0 < error(ours) < 1.5 * error(flaxs) < 0.1
