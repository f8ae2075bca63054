"""Epochs: every example once, in an order as random as a shuffle's."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tele_jax.tasks.epochs import places_of_batch

MANY = 6_000


def stream(key, size, batch_size, num_batches, first=0, largest=None):
    """The places of some batches, one after the other."""

    @jax.jit
    def all_places(key, size, counts):
        def batch(count):
            return places_of_batch(key, count, size, largest or 7, batch_size)

        return jax.vmap(batch)(counts).ravel()

    counts = first + jnp.arange(num_batches, dtype=jnp.int32)
    return np.asarray(all_places(key, jnp.int32(size), counts))


@pytest.mark.parametrize(
    ("size", "batch_size"), [(1, 3), (2, 2), (5, 3), (7, 7), (10, 32), (2400, 32)]
)
def test_every_epoch_has_every_example_once(size, batch_size):
    num_batches = -(-3 * size // batch_size)
    places = stream(jax.random.key(0), size, batch_size, num_batches, largest=size)
    epochs = places[: 3 * size].reshape(3, size)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(size), (3, 1)))
    if size > 5:  # of 5! orders two may be equal
        assert (epochs[0] != epochs[1]).any()
        assert (epochs[1] != epochs[2]).any()


def test_a_batch_does_not_depend_on_how_the_stream_is_cut():
    key = jax.random.key(1)
    ones = stream(key, 10, 1, 48)
    np.testing.assert_array_equal(ones, stream(key, 10, 12, 4))


def test_a_late_batch_does_not_overflow():
    # count·b is far beyond 2³¹; the batches there are still parts of epochs.
    places = stream(jax.random.key(0), 10, 5, 2, first=2**31 - 8)
    first = (2**31 - 8) % 2
    assert first == 0  # an epoch begins here
    assert sorted(places) == list(range(10))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_orders_are_uniform(size):
    """χ² of how often each of the size! orders comes, over many keys."""
    keys = jax.random.split(jax.random.key(2), MANY)
    epochs = jax.jit(
        jax.vmap(
            lambda key: places_of_batch(key, jnp.int32(0), jnp.int32(size), size, size)
        )
    )(keys)
    orders = list(itertools.permutations(range(size)))
    counts = np.zeros(len(orders))
    for order in np.asarray(epochs).tolist():
        counts[orders.index(tuple(order))] += 1
    expected = MANY / math.factorial(size)
    chi2 = ((counts - expected) ** 2 / expected).sum()
    degrees = len(orders) - 1
    # Four standard deviations above the mean of χ².
    assert chi2 < degrees + 4 * math.sqrt(2 * degrees)


def test_places_of_a_large_deck_are_uniform_and_unrelated():
    """Where cards 0 and 1 of 97 go, over many keys: pairs, never the same."""
    size = 97
    keys = jax.random.split(jax.random.key(3), MANY)
    pairs = np.asarray(
        jax.jit(
            jax.vmap(
                lambda key: places_of_batch(key, jnp.int32(0), jnp.int32(size), size, 2)
            )
        )(keys)
    )
    for places in (*pairs.T, (pairs[:, 1] - pairs[:, 0]) % size - 1):
        values = size if places.max() == size - 1 else size - 1
        counts = np.bincount(places, minlength=values)
        expected = MANY / values
        chi2 = ((counts - expected) ** 2 / expected).sum()
        assert chi2 < values - 1 + 4 * math.sqrt(2 * (values - 1))
    assert (pairs[:, 0] != pairs[:, 1]).all()


def _task(**options):
    data = tele.tasks.datasets.digits()
    split = tele.tasks.partition.dirichlet(
        data.train_labels, 5, 0.3, seed=0, equal_sizes=False
    )
    model = tele.tasks.models.by_name("softmax")
    task = tele.tasks.classification(data, split, model, batch_size=16, **options)
    # A label that is its own number tells which example was drawn.
    return task.replace(labels=jnp.arange(len(task.labels), dtype=jnp.int32)), split


def test_a_node_sees_its_examples_once_an_epoch_whatever_the_round_key_is():
    task, split = _task(epoch_key=jax.random.key(4))
    assert task.counts_draws

    @jax.jit
    def batch(key, node, count):
        return task.sample(key, node, count)[1]

    seen = {}
    for node, size in enumerate(split.sizes):
        numbers = [
            batch(jax.random.key(count), jnp.int32(node), jnp.int32(count))
            for count in range(-(-int(size) // 16))
        ]
        seen[node] = np.concatenate(numbers)[:size]
        np.testing.assert_array_equal(
            np.sort(seen[node]), np.sort(split.index[node, :size])
        )
    other, _ = _task(epoch_key=jax.random.key(5))
    first = other.sample(jax.random.key(0), jnp.int32(0), jnp.int32(0))[1]
    assert (np.asarray(first) != seen[0][:16]).any()


def test_teleportation_counts_the_draws_of_epochs():
    task, _ = _task(epoch_key=jax.random.key(4))
    task = task.replace(labels=task.labels % 10)
    params = task.model.init(jax.random.key(0), task.inputs[:1])
    run = tele.simulate(
        tele.Teleportation(tele.graphs.ring(3), 0.1),
        task,
        params,
        jax.random.key(1),
        num_rounds=10,
        observe=tele.metrics.consensus,
    )
    assert int(run.state.draws.sum()) == 30
