"""The classification task against loops over nodes and examples in float64."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import struct

import tele_jax as tele
from tele_jax.tasks.base import Task
from tele_jax.tasks.classification import classification
from tele_jax.tasks.datasets import Dataset
from tele_jax.tasks.models import Linen
from tele_jax.tasks.partition import Partition, dirichlet

DIM, CLASSES = 4, 3
# A float32 sum of 512 positive terms is off by at most 512 · 2⁻²⁴ of itself; as much
# again covers the terms.
RTOL = 2 * 512 * 2**-24


@struct.dataclass
class Linear:
    """Logits x W."""

    def apply(self, params, inputs):
        return inputs.reshape(len(inputs), -1) @ params


def _dataset(num_train=1100, num_test=700, dtype=np.float32):
    rng = np.random.default_rng(0)

    def part(size):
        inputs = rng.normal(size=(size, 2, DIM // 2))
        if dtype == np.uint8:
            inputs = rng.integers(0, 256, inputs.shape)
        return inputs.astype(dtype), rng.integers(0, CLASSES, size).astype(np.int32)

    return Dataset(*part(num_train), *part(num_test))


def _uneven(num_examples, sizes=(1, 2, 3, 7, 16), seed=1):
    """Nodes of these sizes; with duplicates, shared and ownerless examples.

    The padding points to example 0, which no node needs own.
    """
    rng = np.random.default_rng(seed)
    index = np.zeros((len(sizes), max(sizes)), np.int32)
    for node, size in enumerate(sizes):
        index[node, :size] = rng.integers(0, num_examples, size)
    return Partition(index, np.array(sizes, np.int32))


def _params(scale=1.0):
    return scale * jax.random.normal(jax.random.key(5), (DIM, CLASSES))


def _example_losses(params, inputs, labels):
    """The cross-entropy of every example, in float64."""
    inputs = inputs.reshape(len(inputs), -1).astype(float)
    logits = inputs @ np.asarray(params, float)
    chosen = logits[np.arange(len(labels)), labels]
    return np.log(np.exp(logits).sum(axis=1)) - chosen


def _objective(params, dataset, partition):
    """(1/n) Σ_i (1/s_i) Σ_l ℓ, as two loops."""
    losses = _example_losses(params, dataset.train_inputs, dataset.train_labels)
    total = 0.0
    for row, size in zip(partition.index, partition.sizes, strict=True):
        node = 0.0
        for example in row[:size]:
            node += losses[example]
        total += node / size
    return total / len(partition.sizes)


@pytest.mark.parametrize("num_examples", [1, 2, 511, 512, 513, 1024, 1100])
def test_objective_is_the_mean_over_nodes(num_examples):
    dataset = _dataset(num_examples)
    for partition in (
        _uneven(num_examples),
        _uneven(num_examples, sizes=(2 * num_examples, 1)),
    ):
        task = classification(dataset, partition, Linear(), batch_size=2)
        found = jax.jit(lambda task, params: task.objective(params))(task, _params())
        chex.assert_shape(found, ())
        expected = _objective(_params(), dataset, partition)
        np.testing.assert_allclose(found, expected, rtol=RTOL)
        np.testing.assert_allclose(task.weights.sum(), 1.0, rtol=RTOL)


def test_objective_is_not_the_pooled_loss():
    # Probabilities (3/4, 1/4) everywhere; node 0 owns one example of label 0, node 1
    # three of label 1.
    dataset = Dataset(
        np.ones((4, 1), np.float32), np.array([0, 1, 1, 1]), np.ones((1, 1)), np.ones(1)
    )._replace(test_labels=np.array([1]))
    partition = Partition(np.array([[0, 0, 0], [1, 2, 3]]), np.array([1, 3]))
    task = classification(dataset, partition, Linear(), batch_size=1)
    params = jnp.array([[math.log(3), 0.0]])
    mean_over_nodes = -(math.log(3 / 4) + math.log(1 / 4)) / 2
    pooled = -(math.log(3 / 4) + 3 * math.log(1 / 4)) / 4
    np.testing.assert_allclose(task.objective(params), mean_over_nodes, rtol=RTOL)
    assert pooled - mean_over_nodes > 0.25


def test_objective_is_the_expected_loss_of_a_uniform_node():
    # F over one example, averaged over all draws a node can make, is f_i.
    dataset, partition = _dataset(), _uneven(1100)
    task = classification(dataset, partition, Linear(), batch_size=3)
    batch = task.sample(jax.random.key(0), jnp.array(3), None)
    inputs, labels = map(np.asarray, batch)
    expected = _example_losses(_params(), inputs, labels).mean()
    np.testing.assert_allclose(task.loss(_params(), batch), expected, rtol=RTOL)


def test_bytes_are_scaled_to_one_and_floats_are_not():
    raw = _dataset(600, 520, np.uint8)
    scaled = raw._replace(
        train_inputs=(raw.train_inputs / 255).astype(np.float32),
        test_inputs=(raw.test_inputs / 255).astype(np.float32),
    )
    partition, params, key = _uneven(600), _params(), jax.random.key(0)
    of_bytes, of_floats = (
        classification(dataset, partition, Linear(), batch_size=5)
        for dataset in (raw, scaled)
    )
    assert of_bytes.inputs.dtype == jnp.uint8
    node = jnp.array(4)
    inputs, _ = of_bytes.sample(key, node, None)
    assert inputs.dtype == jnp.float32
    chex.assert_trees_all_close(
        of_bytes.sample(key, node, None), of_floats.sample(key, node, None), rtol=RTOL
    )
    for measure in ("objective", "evaluate"):
        chex.assert_trees_all_close(
            getattr(of_bytes, measure)(params),
            getattr(of_floats, measure)(params),
            rtol=RTOL,
        )
    expected = _objective(params, scaled, partition)
    np.testing.assert_allclose(of_floats.objective(params), expected, rtol=RTOL)


@pytest.mark.parametrize("num_test", [1, 511, 512, 513, 700])
def test_evaluate_agrees_with_numpy(num_test):
    dataset = _dataset(20, num_test)
    task = classification(dataset, _uneven(20), Linear(), batch_size=2)
    found = jax.jit(lambda task, params: task.evaluate(params))(task, _params())
    assert set(found) == {"accuracy", "test_loss"}
    inputs, labels = dataset.test_inputs.reshape(num_test, -1), dataset.test_labels
    guess = (inputs @ np.asarray(_params())).argmax(axis=1)
    # A count of at most 700 and one division are exact to half a unit.
    np.testing.assert_allclose(found["accuracy"], (guess == labels).mean(), rtol=2**-23)
    losses = _example_losses(_params(), inputs, labels)
    np.testing.assert_allclose(found["test_loss"], losses.mean(), rtol=RTOL)


def test_evaluate_over_slots_is_evaluate_of_each():
    task = classification(_dataset(), _uneven(1100), Linear(), batch_size=2)
    slots = jnp.stack([_params(scale) for scale in (0.0, 1.0, 5.0)])
    for measure in (task.evaluate, task.objective):
        each = [measure(params) for params in slots]
        chex.assert_trees_all_close(
            jax.vmap(measure)(slots),
            jax.tree.map(lambda *leaves: jnp.stack(leaves), *each),
            rtol=RTOL,
        )


def _numbered_task(partition, batch_size):
    """A task whose examples show their number: as input and as label."""
    number = np.arange(100)
    inputs = number[:, None].astype(np.float32)
    dataset = Dataset(inputs, number, inputs, number)
    return classification(dataset, partition, Linear(), batch_size=batch_size)


def test_sample_is_uniform_over_the_nodes_own_examples():
    # 29 different examples; padding points to example 0, which nobody owns.
    sizes = np.array([1, 2, 3, 7, 16], np.int32)
    owned = np.split(
        1 + np.random.default_rng(0).permutation(99)[:29], np.cumsum(sizes)
    )
    index = np.zeros((5, 16), np.int32)
    for node, size in enumerate(sizes):
        index[node, :size] = owned[node]
    task = _numbered_task(Partition(index, sizes), batch_size=64)
    keys = jax.random.split(jax.random.key(0), 200)
    over_keys = jax.vmap(task.sample, in_axes=(0, None, None))
    for node, examples in enumerate(owned[:5]):
        inputs, labels = over_keys(keys, jnp.array(node), None)
        chex.assert_shape(inputs, (200, 64, 1))
        np.testing.assert_array_equal(inputs[..., 0], labels)
        counts = np.bincount(np.ravel(labels), minlength=100)
        assert set(np.flatnonzero(counts)) == set(examples)
        expected = 200 * 64 / len(examples)
        statistic = ((counts[examples] - expected) ** 2 / expected).sum()
        # Laurent and Massart 2000: P(χ²_ν ≥ ν + 2√(νx) + 2x) ≤ e^−x, here 1e-6.
        x, freedom = math.log(1e6), len(examples) - 1
        assert statistic <= freedom + 2 * math.sqrt(freedom * x) + 2 * x


def test_sample_counts_duplicates():
    # Example 3 twice and example 9 once: 2/3 within 5 standard errors.
    partition = Partition(np.array([[3, 9, 3]]), np.array([3]))
    task = _numbered_task(partition, batch_size=20_000)
    _, labels = task.sample(jax.random.key(0), jnp.array(0), None)
    error = math.sqrt(2 / 9 / 20_000)
    assert abs(float((labels == 3).mean()) - 2 / 3) < 5 * error
    np.testing.assert_allclose(task.weights[jnp.array([3, 9])], [2 / 3, 1 / 3])


def test_sample_under_vmap_is_sample_of_each():
    task = _numbered_task(_uneven(100), batch_size=6)
    keys = jax.random.split(jax.random.key(2), 5)
    together = jax.vmap(task.sample, in_axes=(0, 0, None))(keys, jnp.arange(5), None)
    chex.assert_shape(together[0], (5, 6, 1))
    for node in range(5):
        alone = task.sample(keys[node], jnp.array(node), None)
        chex.assert_trees_all_equal((together[0][node], together[1][node]), alone)


@pytest.mark.parametrize("num_nodes", [1, 10, 1000])
def test_images_are_held_once(num_nodes):
    dataset = _dataset(500, 100, np.uint8)
    partition = dirichlet(dataset.train_labels, num_nodes, 0.1, 0, examples_per_node=6)
    task = classification(dataset, partition, Linear(), batch_size=2)
    assert isinstance(task, Task)
    assert (task.num_nodes, task.num_classes) == (num_nodes, CLASSES)
    total = sum(leaf.nbytes for leaf in jax.tree.leaves(task))
    # Bytes of images, int32 labels, float32 weights; 6 numbers and a size per node.
    images = 600 * DIM
    assert total == images + 4 * (500 + 500 + 100) + 4 * num_nodes * (6 + 1)


def test_activations_of_one_block_are_alive_at_a_time():
    @struct.dataclass
    class Wide:
        def apply(self, params, inputs):
            hidden = jnp.tanh(inputs.reshape(len(inputs), -1) @ params)
            return hidden[:, :CLASSES]

    num_examples, width = 20_000, 256
    dataset = _dataset(num_examples, 10)
    task = classification(dataset, _uneven(num_examples), Wide(), batch_size=2)
    params = jnp.zeros((DIM, width))
    compiled = jax.jit(lambda task, params: task.objective(params)).lower(task, params)
    used = compiled.compile().memory_analysis().temp_size_in_bytes
    # 4 bytes × 512 rows × 256 columns, a few times; all rows would take 20 MB.
    assert used < 8 * 4 * 512 * width
    assert num_examples > 8 * 512


def _spoilt(**changes):
    dataset = _dataset(10, 5)._replace(**changes)
    partition = Partition(np.arange(10).reshape(2, 5), np.array([5, 5]))
    return lambda: classification(dataset, partition, Linear(), batch_size=2)


def _split(index, sizes):
    partition = Partition(np.array(index), np.array(sizes))
    return lambda: classification(_dataset(10, 5), partition, Linear(), batch_size=2)


def _with(model, batch_size=2):
    return lambda: classification(
        _dataset(10, 5),
        Partition(np.zeros((1, 1)), np.ones(1)),
        model,
        batch_size=batch_size,
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_with(Linear(), 0), "got batch_size=0, expected >= 1"),
        (_with(object()), "got a model of type object, expected a pytree"),
        (_with(nn.Dense(3)), "got a model of type Dense, expected a pytree"),
        (_with(np.linalg), "got a model of type module, expected a pytree"),
        (_spoilt(train_labels=np.arange(9)), r"training part has 10 inputs .* \(9,\)"),
        (_spoilt(test_labels=np.ones((5, 2), int)), r"test part has 5 .* \(5, 2\)"),
        (_spoilt(train_labels=np.arange(10) - 1), "training labels are int64 from -1"),
        (_spoilt(test_labels=np.ones(5)), "test labels are float64 from 1.0"),
        (_split([[0, 1], [2, 3]], [2, 0]), "node 1 owns 0 examples, expected 1 to 2"),
        (_split([[0, 1], [2, 3]], [3, 1]), "node 0 owns 3 examples, expected 1 to 2"),
        (_split([[0, 1], [2, 10]], [2, 2]), "examples 0 to 10, the training part has"),
        (_split([[0, -1], [2, 3]], [2, 2]), "examples -1 to 3, the training part has"),
        (_split([[0, 1], [2, 3]], [2]), r"index of shape \(2, 2\) and sizes of shape"),
        (_split([0, 1], [1, 1]), r"index of shape \(2,\) and sizes of shape"),
    ],
)
def test_refusals(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_model_that_does_not_flatten_is_refused():
    model = Linen(nn.Dense(3))
    task = classification(_dataset(), _uneven(1100), model, batch_size=2)
    params = model.init(jax.random.key(0), task.inputs[:1])
    with pytest.raises(ValueError, match=r"logits of shape \(2, 2, 3\) for inputs"):
        tele.simulate(
            tele.DSGD(tele.graphs.ring(2), 0.1),
            task,
            params,
            jax.random.key(0),
            num_rounds=1,
        )


def test_model_with_too_few_outputs_is_refused():
    task = classification(_dataset(), _uneven(1100), Linear(), batch_size=2)
    with pytest.raises(ValueError, match="gives 2 logits, the data have 3 classes"):
        task.objective(_params()[:, :2])
