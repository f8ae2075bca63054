"""Laws of the splits: who owns how many examples of which label."""

import math

import chex
import numpy as np
import pytest

from tele_jax.tasks.partition import (
    Partition,
    dirichlet,
    iid,
    label_counts,
    shards,
)

# Every split without replacement, as (labels, n, seed) -> Partition.
EXCLUSIVE = {
    "iid": iid,
    "shards": lambda labels, n, seed: shards(labels, n, 2, seed),
    "dirichlet": lambda labels, n, seed: dirichlet(labels, n, 0.3, seed),
    "dirichlet tiny": lambda labels, n, seed: dirichlet(labels, n, 1e-9, seed),
    "dirichlet unequal": lambda labels, n, seed: dirichlet(
        labels, n, 5.0, seed, equal_sizes=False
    ),
}
REPLACEMENT = {
    "iid": lambda labels, n, seed: iid(labels, n, seed, examples_per_node=6),
    "dirichlet": lambda labels, n, seed: dirichlet(
        labels, n, 0.3, seed, examples_per_node=6
    ),
}
EQUAL = {name: split for name, split in EXCLUSIVE.items() if "unequal" not in name}


def _uneven_labels(num_examples):
    """Labels 0, 1, 2 and 5 in proportions 1 : 2 : 3 : 4, in random order."""
    rng = np.random.default_rng(7)
    return rng.choice([0, 1, 2, 5], num_examples, p=[0.1, 0.2, 0.3, 0.4])


def _owned(partition):
    return [
        row[:size].tolist()
        for row, size in zip(partition.index, partition.sizes, strict=True)
    ]


@pytest.mark.parametrize("split", EXCLUSIVE.values(), ids=EXCLUSIVE)
@pytest.mark.parametrize(("num_examples", "num_nodes"), [(200, 1), (200, 8), (203, 16)])
def test_every_example_has_at_most_one_owner(split, num_examples, num_nodes):
    partition = split(_uneven_labels(num_examples), num_nodes, 0)
    assert partition.index.dtype == partition.sizes.dtype == np.int32
    chex.assert_shape(partition.index, (num_nodes, partition.sizes.max()))
    owned = np.concatenate(_owned(partition))
    assert len(owned) == partition.sizes.sum()
    assert len(set(owned)) == len(owned)
    assert set(owned) <= set(range(num_examples))
    assert partition.sizes.min() >= 1


@pytest.mark.parametrize("split", EQUAL.values(), ids=EQUAL)
@pytest.mark.parametrize(("num_examples", "num_nodes"), [(200, 1), (208, 8), (235, 16)])
def test_nodes_own_equally_many(split, num_examples, num_nodes):
    partition = split(_uneven_labels(num_examples), num_nodes, 0)
    # Shards: ⌊N/(2n)⌋ twice, which is ⌊N/n⌋ at these sizes too.
    np.testing.assert_array_equal(partition.sizes, num_examples // num_nodes)


@pytest.mark.parametrize("num_nodes", [1, 2, 8])
def test_unequal_split_leaves_nobody_out(num_nodes):
    partition = dirichlet(_uneven_labels(203), num_nodes, 2.0, 0, equal_sizes=False)
    assert sorted(np.concatenate(_owned(partition))) == list(range(203))
    assert num_nodes == 1 or len(set(partition.sizes)) > 1


def test_padding_repeats_the_first_example():
    partition = dirichlet(_uneven_labels(203), 8, 2.0, 0, equal_sizes=False)
    for row, size in zip(partition.index, partition.sizes, strict=True):
        np.testing.assert_array_equal(row[size:], row[0])


@pytest.mark.parametrize("split", (EXCLUSIVE | REPLACEMENT).values())
def test_the_seed_decides(split):
    labels = _uneven_labels(200)
    first, again, other = (split(labels, 4, seed) for seed in (0, 0, 1))
    chex.assert_trees_all_equal(first, again)
    assert set(_owned(first)[0]) != set(_owned(other)[0])


@pytest.mark.parametrize(
    "split",
    [
        iid,
        lambda labels, n, seed: dirichlet(labels, n, 1e9, seed),
        lambda labels, n, seed: dirichlet(labels, n, 1e9, seed, equal_sizes=False),
        lambda labels, n, seed: dirichlet(labels, n, 1e9, seed, examples_per_node=8000),
        lambda labels, n, seed: iid(labels, n, seed, examples_per_node=8000),
    ],
    ids=["iid", "equal", "unequal", "dirichlet drawn", "iid drawn"],
)
def test_homogeneous_limit(split):
    num_examples, num_nodes, num_classes = 40_000, 5, 10
    labels = np.tile(np.arange(num_classes), num_examples // num_classes)
    counts = label_counts(split(labels, num_nodes, 0), labels, num_classes)
    # Hoeffding: a sum of at most N indicators is off by more than √(N log(2/δ) / 2)
    # with probability < δ, here 1e-6 over all n × classes counts. The node served last
    # gets what the N − s earlier draws left, hence N and not s.
    delta = 1e-6 / counts.size
    bound = math.sqrt(num_examples * math.log(2 / delta) / 2)
    expected = num_examples / num_nodes / num_classes
    assert bound < 0.8 * expected
    np.testing.assert_allclose(counts, expected, atol=bound)


def test_tiny_alpha_gives_every_node_one_label():
    labels = np.tile(np.arange(10), 30)
    # 10 nodes with 30 examples each and 10 labels with 30 each: a node that comes to a
    # label already taken whole goes on to another one.
    exclusive = label_counts(dirichlet(labels, 10, 1e-9, 0), labels, 10)
    np.testing.assert_array_equal(np.sort(exclusive, axis=1)[:, -2:], [[0, 30]] * 10)
    np.testing.assert_array_equal(exclusive.sum(axis=0), 30)
    drawn = dirichlet(labels, 50, 1e-9, 0, examples_per_node=30)
    np.testing.assert_array_equal(label_counts(drawn, labels, 10).max(axis=1), 30)


def _assert_mean(values, expected):
    """The mean of independent values is the expected one, within 5 standard errors."""
    error = np.std(values, axis=0) / math.sqrt(len(values))
    np.testing.assert_array_less(np.abs(np.mean(values, axis=0) - expected), 5 * error)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 3.0])
def test_draws_are_dirichlet_multinomial(alpha):
    labels = _uneven_labels(300)
    size, num_classes = 12, 4  # label sizes must not matter: Dir(α 1) is symmetric
    partition = dirichlet(labels, 20_000, alpha, 0, examples_per_node=size)
    counts = label_counts(partition, labels, 6)[:, [0, 1, 2, 5]]
    assert counts.sum() == 20_000 * size
    mean, total = 1 / num_classes, alpha * num_classes
    variance = size * mean * (1 - mean) * (size + total) / (1 + total)
    _assert_mean(counts, size * mean)
    _assert_mean((counts - size * mean) ** 2, variance)


def test_draws_with_one_label_are_uniform():
    labels = np.repeat([0, 1], [4, 6])
    index = dirichlet(labels, 4_000, 1.0, 0, examples_per_node=20).index
    for examples in (np.arange(4), np.arange(4, 10)):
        found = np.array([(index == example).sum() for example in examples])
        expected = found.sum() / len(examples)
        # Laurent and Massart 2000: P(χ²_ν ≥ ν + 2√(νx) + 2x) ≤ e^−x, here 1e-6.
        x, freedom = math.log(1e6), len(examples) - 1
        limit = freedom + 2 * math.sqrt(freedom * x) + 2 * x
        assert ((found - expected) ** 2 / expected).sum() < limit


@pytest.mark.parametrize("alpha", [0.2, 2.0])
def test_equal_split_is_beta_binomial_for_two_nodes(alpha):
    # Two labels and two nodes of 10: the node served first cannot run out, and the
    # other owns the complement, so label 0 is Beta-binomial(10, α, α) on both.
    labels, size = np.repeat([0, 1], 10), 10
    counts = np.array(
        [
            label_counts(dirichlet(labels, 2, alpha, seed), labels, 2)[0, 0]
            for seed in range(3000)
        ]
    )
    variance = size / 4 * (size + 2 * alpha) / (1 + 2 * alpha)
    _assert_mean(counts, size / 2)
    _assert_mean((counts - size / 2) ** 2, variance)


def test_no_node_number_is_favoured():
    # Node 0 is served last as often as any: its chance to own both labels is node 2's.
    labels = np.repeat([0, 1], 15)
    both = np.array(
        [
            (label_counts(dirichlet(labels, 3, 0.05, seed), labels, 2) > 0).all(axis=1)
            for seed in range(1500)
        ]
    )
    _assert_mean(both[:, 0].astype(float) - both[:, 2], 0.0)


@pytest.mark.parametrize("alpha", [0.5, 4.0])
def test_unequal_split_divides_each_label_by_dirichlet(alpha):
    num_classes, num_nodes, stock = 600, 4, 500
    labels = np.repeat(np.arange(num_classes), stock)
    partition = dirichlet(labels, num_nodes, alpha, 0, equal_sizes=False)
    share = label_counts(partition, labels, num_classes)[0] / stock
    mean = 1 / num_nodes
    variance = mean * (1 - mean) / (num_nodes * alpha + 1)
    _assert_mean(share, mean)
    # Rounding to whole examples adds at most 1/stock² to the variance, 4e-6.
    _assert_mean((share - mean) ** 2, variance)


@pytest.mark.parametrize(("num_nodes", "shards_per_node"), [(5, 2), (10, 1), (2, 5)])
def test_a_shard_has_one_label(num_nodes, shards_per_node):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(5), 40))
    partition = shards(labels, num_nodes, shards_per_node, 0)
    # 10 shards of 20 examples and labels of 40: no shard crosses a boundary.
    counts = label_counts(partition, labels, 5)
    np.testing.assert_array_equal(counts % 20, 0)
    np.testing.assert_array_equal(counts.sum(axis=0), 40)
    assert (counts > 0).sum(axis=1).max() <= shards_per_node


def test_shards_leave_out_random_examples():
    # 9 of 10 are dealt: over 200 seeds both labels lose some.
    labels = np.repeat([0, 1], 5)
    left_out = [
        5 - label_counts(shards(labels, 3, 1, seed), labels, 2).sum(axis=0)[1]
        for seed in range(200)
    ]
    _assert_mean(left_out, 0.5)


def test_label_counts_agree_with_a_loop():
    labels = _uneven_labels(203)
    partition = dirichlet(labels, 8, 2.0, 0, equal_sizes=False)
    expected = np.zeros((8, 6), int)
    for node, examples in enumerate(_owned(partition)):
        for example in examples:
            expected[node, labels[example]] += 1
    np.testing.assert_array_equal(label_counts(partition, labels, 6), expected)


def test_chunks_cover_a_table_larger_than_one():
    # 70,000 × 64 numbers take two chunks; a row that none filled would show.
    labels = np.arange(10)
    partition = dirichlet(labels, 70_000, 1.0, 0, examples_per_node=64)
    counts = label_counts(partition, labels, 10)
    np.testing.assert_array_equal(counts.sum(axis=1), 64)
    for half in np.array_split(counts, 2):
        _assert_mean(half, 6.4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y: iid(y, 0, 0), "iid: got num_nodes=0, expected at least 1"),
        (lambda y: iid(y, 11, 0), "11 nodes exceed the 10 examples.*examples_per_node"),
        (lambda y: iid(y[:0], 1, 0), "iid: got num_labels=0, expected at least 1"),
        (lambda y: iid(y, 2, 0, examples_per_node=0), "got examples_per_node=0"),
        (lambda y: shards(y, -1, 2, 0), "shards: got num_nodes=-1"),
        (lambda y: shards(y, 2, 0, 0), "shards: got shards_per_node=0"),
        (lambda y: shards(y, 6, 2, 0), "6 nodes × 2 shards exceed the 10 examples"),
        (lambda y: dirichlet(y, 0, 1.0, 0), "dirichlet: got num_nodes=0"),
        (lambda y: dirichlet(y, 11, 1.0, 0), "11 nodes exceed.*examples_per_node"),
        (lambda y: dirichlet(y, 2, 0.0, 0), "alpha=0.0, expected 0 < alpha < inf"),
        (lambda y: dirichlet(y, 2, -1.0, 0), "alpha=-1.0, expected"),
        (lambda y: dirichlet(y, 2, math.nan, 0), "alpha=nan, expected"),
        (lambda y: dirichlet(y, 2, math.inf, 0), "alpha=inf, expected"),
        (
            lambda y: dirichlet(y, 2, 1.0, 0, equal_sizes=False, examples_per_node=3),
            "examples_per_node excludes equal_sizes=False",
        ),
        (
            lambda y: dirichlet(y, 10, 1e-9, 0, equal_sizes=False),
            r"[89] of 10 nodes got no example; choose a larger alpha, fewer nodes or",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.repeat([0, 1], 5))


def test_more_nodes_than_examples_with_replacement():
    partition = dirichlet(np.repeat([0, 1], 5), 1000, 0.1, 0, examples_per_node=3)
    assert isinstance(partition, Partition)
    chex.assert_shape(partition.index, (1000, 3))
    np.testing.assert_array_equal(partition.sizes, 3)
    assert (partition.index.min(), partition.index.max()) == (0, 9)
