"""Schedules of few partners per round, most of which average exactly in a period."""

import numpy as np

from tele_jax.graphs import _build as build
from tele_jax.topology import Periodic


def one_peer_exponential(num_slots: int) -> Periodic:
    """In round j slot i averages with what i − 2ʲ mod k sends, weight 1/2; directed.

    The period is ⌈log₂ k⌉, after which all slots agree exactly if and only if k is a
    power of two. Doubly stochastic: the mean is preserved.

    Source: B. Ying, K. Yuan, Y. Chen, H. Hu, P. Pan, W. Yin, *Exponential Graph is
    Provably Efficient for Decentralized Deep Training*, NeurIPS 2021,
    arXiv 2110.13363.

    >>> one_peer_exponential(8).period
    3
    """
    num_slots = build.check_size("one_peer_exponential", num_slots)
    rounds = max(1, build.ceil_log2(num_slots))
    build.check_table("one_peer_exponential", num_slots, 2, rounds)
    return build.circulant(num_slots, [{0, -(2**j)} for j in range(rounds)])


def one_peer_hypercube(num_slots: int) -> Periodic:
    """In round j slot i averages with the slot that differs in bit j, weight 1/2.

    The period is log₂ k, after which all slots agree exactly. Symmetric: the mean is
    preserved.

    Raises:
      ValueError: k is not a power of two.

    >>> one_peer_hypercube(8).at(1).senders[:, 5].tolist()
    [5, 7]
    """
    num_slots = build.check_size("one_peer_hypercube", num_slots)
    dimension = build.check_power_of_two("one_peer_hypercube", num_slots)
    build.check_table("one_peer_hypercube", num_slots, 2, max(1, dimension))
    own = np.arange(num_slots)
    if dimension == 0:
        return build.equal_weights(own[None, None])
    senders = [[own, own ^ (1 << j)] for j in range(dimension)]
    return build.equal_weights(np.array(senders))


def hyper_hypercube(num_slots: int, degree: int) -> Periodic:
    """The ``degree``-peer hyper-hypercube: groups of f_r average exactly in round r.

    k = f_1 ⋯ f_m with factors 2 ≤ f_r ≤ degree + 1, ascending; round r averages groups
    of f_r slots that lie f_1 ⋯ f_{r−1} apart, weight 1/f_r. After the m rounds of a
    period all slots agree exactly. Symmetric: the mean is preserved.

    Args:
      num_slots: k, with no prime factor above degree + 1.
      degree: most partners of a slot in a round; more than k − 1 mean k − 1.

    Raises:
      ValueError: k has a larger prime factor, or the degree is below 1.

    Source: Y. Takezawa, R. Sato, H. Bao, K. Niwa, M. Yamada, *Beyond Exponential
    Graph: Communication-Efficient Topologies for Decentralized Learning via
    Finite-time Convergence*, NeurIPS 2023, arXiv 2305.11420.

    >>> hyper_hypercube(12, 2).at(2).senders[:, 0].tolist()  # 12 = 2 · 2 · 3
    [0, 4, 8]
    """
    name = "hyper_hypercube"
    num_slots = build.check_size(name, num_slots)
    degree = build.check_degree(name, degree, num_slots)
    of_k = factors(num_slots, degree)
    if of_k is None:
        raise ValueError(
            f"{name}: {num_slots} slots has a prime factor above degree + 1 = "
            f"{degree + 1}; use base_graph({num_slots}, {degree}) for an exact average "
            "at any size."
        )
    build.check_table(name, num_slots, max([1, *of_k]), len(of_k))
    return build.stack_rounds(hyper_hypercube_rounds(num_slots, degree))


Table = tuple[np.ndarray, np.ndarray]
"""Senders and weights of one round, [m, k]."""


def factors(number: int, degree: int) -> list[int] | None:
    """f_1 ≤ … ≤ f_m of 2..degree + 1 with product ``number``; None if there are none.

    The largest possible factor is split off first.
    """
    found = []
    for factor in range(degree + 1, 1, -1):
        while number % factor == 0:
            found.append(factor)
            number //= factor
    return sorted(found) if number == 1 else None


def strides(number: int, degree: int) -> list[tuple[int, int]]:
    """(stride, factor) of every round of the hyper-hypercube on ``number`` slots."""
    of_number = factors(number, degree)
    assert of_number is not None
    products = np.cumprod([1, *of_number]).tolist()
    return list(zip(products, of_number, strict=False))


def groups(nodes: np.ndarray, stride: int, factor: int) -> np.ndarray:
    """Rows of ``factor`` nodes that lie ``stride`` apart, [groups, factor]."""
    blocks = nodes.reshape(-1, factor, stride)
    return blocks.transpose(0, 2, 1).reshape(-1, factor)


def silent(num_slots: int, degree: int) -> Table:
    """A round in which nobody sends, with room for ``degree`` partners."""
    senders = np.tile(np.arange(num_slots, dtype=np.int32), (degree + 1, 1))
    weights = np.zeros(senders.shape, np.float32)
    weights[0] = 1.0
    return senders, weights


def average(table: Table, rows: np.ndarray) -> None:
    """Let every row of nodes, [groups, size], average in this round."""
    senders, weights = table
    size = rows.shape[1]
    columns = np.ascontiguousarray(rows.T, np.int32)
    for c in range(size):
        senders[c, columns] = np.roll(columns, -c, axis=0)
        weights[c, columns] = 1 / size


def hyper_hypercube_rounds(num_slots: int, degree: int) -> list[Table]:
    """The rounds of ``hyper_hypercube``; one silent round for a single slot."""
    nodes = np.arange(num_slots)
    rounds = []
    for stride, factor in strides(num_slots, degree):
        table = silent(num_slots, factor - 1)
        average(table, groups(nodes, stride, factor))
        rounds.append(table)
    return rounds or [silent(num_slots, 0)]
