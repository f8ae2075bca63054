"""Who owns which example: splits of a labelled dataset over n nodes, on the host."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator


class Partition(NamedTuple):
    """The examples of every node, as a table of numbers of training examples.

    Node i owns ``index[i, :sizes[i]]``, in any order; its first one fills up its row.
    """

    index: np.ndarray  # type: ignore[assignment]  # int32[n, s]; hides tuple.index
    sizes: np.ndarray  # int32[n]


def iid(
    labels: np.ndarray,
    num_nodes: int,
    seed: int,
    *,
    examples_per_node: int | None = None,
) -> Partition:
    """Split the examples evenly and at random: homogeneous nodes.

    Args:
      labels: int[N].
      num_nodes: the number n of nodes.
      seed: decides the split.
      examples_per_node: how many to draw for each node with replacement from all N. By
        default each gets ⌊N/n⌋ of its own, and N mod n random examples get no owner.

    Raises:
      ValueError: a number is out of range, or there are more nodes than examples.

    >>> iid(np.zeros(10), 3, seed=0).index.shape
    (3, 3)
    """
    size = _size_of_node("iid", labels, num_nodes, examples_per_node)
    rng = np.random.default_rng(seed)
    if examples_per_node is None:
        index = rng.permutation(len(labels))[: num_nodes * size].reshape(-1, size)
    else:
        index = rng.integers(len(labels), size=(num_nodes, size), dtype=np.int32)
    return _equal(index)


def dirichlet(
    labels: np.ndarray,
    num_nodes: int,
    alpha: float,
    seed: int,
    *,
    equal_sizes: bool = True,
    examples_per_node: int | None = None,
) -> Partition:
    """Split so that node i sees labels in proportions p_i ~ Dir(α 1).

    Small α: few labels each; large α: all labels evenly. Three ways:

    * Equal sizes (T.-M. H. Hsu, H. Qi, M. Brown, arXiv 1909.06335): every node gets
      ⌊N/n⌋ examples of its own, N mod n get no owner. Our choice: nodes are served in
      random order, and once a label has run out, a node's proportions are renormalised
      over the labels left. The nodes served last take what is left over.
    * ``equal_sizes=False`` (M. Yurochkin et al., ICML 2019, arXiv 1905.12022): each
      label is divided over the nodes by q ~ Dir(α 1), and every example has one owner.
    * ``examples_per_node=s``: a node draws s labels from its p_i, and for each a random
      example with that label, **with replacement**. Any number of nodes fits any data.

    Args:
      labels: int[N].
      num_nodes: the number n of nodes.
      alpha: the concentration α.
      seed: decides the split.
      equal_sizes: whether all nodes own equally many examples.
      examples_per_node: the number s of draws with replacement.

    Raises:
      ValueError: a number is out of range, there are more nodes than examples, or a
        node would be empty.

    >>> labels = np.repeat([0, 1], 50)
    >>> label_counts(dirichlet(labels, 4, 1e6, seed=0), labels, 2).sum(axis=1).tolist()
    [25, 25, 25, 25]
    """
    size = _size_of_node("dirichlet", labels, num_nodes, examples_per_node)
    if not 0 < alpha < np.inf:  # NaN is refused too.
        raise ValueError(f"dirichlet: got alpha={alpha}, expected 0 < alpha < inf.")
    if examples_per_node is not None and not equal_sizes:
        raise ValueError("dirichlet: examples_per_node excludes equal_sizes=False.")
    rng = np.random.default_rng(seed)
    if examples_per_node is not None:
        return _with_replacement(rng, labels, num_nodes, alpha, size)
    stock = np.unique(labels, return_counts=True)[1]
    if equal_sizes:
        log_p = _log_dirichlet(rng, alpha, (num_nodes, len(stock)))
        return _deal(rng, labels, _equal_counts(rng, stock, log_p, size))
    log_q = _log_dirichlet(rng, alpha, (len(stock), num_nodes))
    return _deal(rng, labels, _unequal_counts(stock, log_q))


def shards(
    labels: np.ndarray, num_nodes: int, shards_per_node: int, seed: int
) -> Partition:
    """Sort by label, cut into equal shards and deal each node some at random.

    The examples that do not fill a shard, chosen at random, get no owner.

    Args:
      labels: int[N].
      num_nodes: the number n of nodes.
      shards_per_node: how many shards a node gets; 2 in the paper.
      seed: decides the split.

    Raises:
      ValueError: a number is out of range, or there are more shards than examples.

    Source: B. McMahan, E. Moore, D. Ramage, S. Hampson, B. Agüera y Arcas,
    *Communication-Efficient Learning of Deep Networks from Decentralized Data*,
    AISTATS 2017, arXiv 1602.05629.

    >>> labels = np.repeat(np.arange(4), 5)
    >>> label_counts(shards(labels, 4, 1, seed=0), labels, 4).max(axis=1).tolist()
    [5, 5, 5, 5]
    """
    _at_least_one("shards", num_nodes=num_nodes, shards_per_node=shards_per_node)
    count = num_nodes * shards_per_node
    if count > len(labels):
        raise ValueError(
            f"shards: {num_nodes} nodes × {shards_per_node} shards exceed the "
            f"{len(labels)} examples; choose fewer nodes or shards."
        )
    rng = np.random.default_rng(seed)
    kept = rng.permutation(len(labels))[: len(labels) // count * count]
    by_label = kept[np.argsort(labels[kept], kind="stable")].reshape(count, -1)
    return _equal(rng.permutation(by_label).reshape(num_nodes, -1))


def label_counts(
    partition: Partition, labels: np.ndarray, num_classes: int
) -> np.ndarray:
    """How many examples of each label a node owns: int[n, num_classes].

    >>> partition = Partition(np.array([[0, 1], [2, 2]]), np.array([2, 1]))
    >>> label_counts(partition, np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    counts = np.zeros((len(partition.sizes), num_classes), int)
    for number, column in enumerate(partition.index.T):
        nodes = np.flatnonzero(number < partition.sizes)
        counts[nodes, labels[column[nodes]]] += 1
    return counts


def _equal(index: np.ndarray) -> Partition:
    sizes = np.full(len(index), index.shape[1], np.int32)
    return Partition(index.astype(np.int32, copy=False), sizes)


def _at_least_one(who: str, **numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{who}: got {name}={number}, expected at least 1.")


def _size_of_node(
    who: str, labels: np.ndarray, num_nodes: int, examples_per_node: int | None
) -> int:
    _at_least_one(who, num_nodes=num_nodes, num_labels=len(labels))
    if examples_per_node is not None:
        _at_least_one(who, examples_per_node=examples_per_node)
        return examples_per_node
    if num_nodes > len(labels):
        raise ValueError(
            f"{who}: {num_nodes} nodes exceed the {len(labels)} examples; choose fewer "
            "nodes, or pass examples_per_node to draw with replacement."
        )
    return len(labels) // num_nodes


def _log_dirichlet(rng: Generator, alpha: float, shape: tuple[int, int]) -> np.ndarray:
    """Rows log p + constant, p ~ Dir(α 1)."""
    # p_c ∝ Gamma(α) = Gamma(α + 1) · U^(1/α) underflows at small α; its log does not.
    log_gamma = np.log(rng.standard_gamma(alpha + 1, shape))
    return log_gamma - rng.standard_exponential(shape) / alpha


def _normalise(log_weights: np.ndarray) -> np.ndarray:
    weights = np.exp(log_weights - log_weights.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _equal_counts(
    rng: Generator, stock: np.ndarray, log_p: np.ndarray, size: int
) -> np.ndarray:
    """How many examples of each label a node gets, int[n, classes]: ``size`` in all."""
    left, counts = stock.copy(), np.zeros(log_p.shape, int)
    for node in rng.permutation(len(counts)):
        # Every pass but the last exhausts a label.
        while missing := size - counts[node].sum():
            p = _normalise(np.where(left > 0, log_p[node], -np.inf))
            taken = np.minimum(rng.multinomial(missing, p), left)
            counts[node] += taken
            left -= taken
    return counts


def _unequal_counts(stock: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """How many examples of each label a node gets, int[n, classes]: all are dealt."""
    cuts = np.rint(np.cumsum(_normalise(log_q), axis=1) * stock[:, None]).astype(int)
    counts = np.diff(cuts, axis=1, prepend=0).T
    if empty := np.sum(counts.sum(axis=1) == 0):
        raise ValueError(
            f"dirichlet: {empty} of {len(counts)} nodes got no example; choose a "
            "larger alpha, fewer nodes or equal_sizes=True."
        )
    return counts


def _deal(rng: Generator, labels: np.ndarray, counts: np.ndarray) -> Partition:
    """Deal random examples by ``counts[n, classes]``, each to at most one node."""
    examples, owners = [], []
    for label, count in zip(np.unique(labels), counts.T, strict=True):
        examples.append(rng.permutation(np.flatnonzero(labels == label))[: count.sum()])
        owners.append(np.repeat(np.arange(len(counts)), count))
    order = np.argsort(np.concatenate(owners), kind="stable")
    by_owner = np.concatenate(examples)[order]
    sizes = counts.sum(axis=1)
    # Past its end a row points back to its first example.
    offset = np.arange(sizes.max()) * (np.arange(sizes.max()) < sizes[:, None])
    index = by_owner[(np.cumsum(sizes) - sizes)[:, None] + offset]
    return Partition(index.astype(np.int32), sizes.astype(np.int32))


def _with_replacement(
    rng: Generator, labels: np.ndarray, num_nodes: int, alpha: float, size: int
) -> Partition:
    by_label = np.argsort(labels, kind="stable").astype(np.int32)
    stock = np.unique(labels, return_counts=True)[1]
    index = np.empty((num_nodes, size), np.int32)
    # In chunks: the table of a million nodes fits in memory, its temporaries do not.
    for chunk in np.array_split(index, 1 + index.size // 2**22):
        shape = (len(chunk), len(stock))
        counts = rng.multinomial(size, _normalise(_log_dirichlet(rng, alpha, shape)))
        classes = np.repeat(np.tile(np.arange(shape[1]), shape[0]), counts.ravel())
        picks = (np.cumsum(stock) - stock)[classes] + rng.integers(stock[classes])
        chunk[:] = by_label[picks].reshape(chunk.shape)
    return _equal(index)
