"""Base-(k+1) graphs: an exact average in O(log k) rounds for every number of slots.

Y. Takezawa, R. Sato, H. Bao, K. Niwa, M. Yamada, *Beyond Exponential Graph:
Communication-Efficient Topologies for Decentralized Learning via Finite-time
Convergence*, NeurIPS 2023, arXiv 2305.11420. Their k is ``degree`` here.
"""

from typing import NamedTuple

import numpy as np

from tele_jax.graphs import _build as build
from tele_jax.graphs.finite_time import (
    Table,
    average,
    factors,
    groups,
    hyper_hypercube_rounds,
    silent,
    strides,
)
from tele_jax.topology import Periodic


def simple_base_graph(num_slots: int, degree: int) -> Periodic:
    """The Simple Base-(degree + 1) graph: all agree exactly after a period.

    Slots are split by the digits of k in base b = degree + 1 into blocks of a·bᵖ.
    Blocks average within themselves; then the blocks hand over, one after the other,
    so that each group of bᵖ slots holds the mean of all; then groups average.
    Symmetric: the mean is preserved.

    Args:
      num_slots: k, any.
      degree: most partners of a slot in a round; more than k − 1 mean k − 1.

    Raises:
      ValueError: the degree is below 1.

    Source: Y. Takezawa et al., NeurIPS 2023, arXiv 2305.11420.

    >>> simple_base_graph(6, 1).period, simple_base_graph(6, 2).period
    (5, 2)
    """
    num_slots = build.check_size("simple_base_graph", num_slots)
    degree = build.check_degree("simple_base_graph", degree, num_slots)
    length = _simple_length(num_slots, degree)
    build.check_table("simple_base_graph", num_slots, degree + 1, length)
    return build.stack_rounds(_simple_rounds(num_slots, degree))


def base_graph(num_slots: int, degree: int) -> Periodic:
    """The Base-(degree + 1) graph: all agree exactly after a period.

    k = p·q with p the largest divisor that has no prime factor above degree + 1: the p
    groups of q slots run the Simple Base graph side by side, then the slots of the same
    place in their groups run the hyper-hypercube. Where the Simple Base graph on all k
    is shorter, it is that. A period is at most 2 log_{degree+1} k + 2 rounds.
    Symmetric: the mean is preserved.

    Args:
      num_slots: k, any.
      degree: most partners of a slot in a round; more than k − 1 mean k − 1.

    Raises:
      ValueError: the degree is below 1.

    Source: Y. Takezawa et al., NeurIPS 2023, arXiv 2305.11420.

    >>> base_graph(6, 1).period, base_graph(25, 1).period
    (4, 9)
    """
    num_slots = build.check_size("base_graph", num_slots)
    degree = build.check_degree("base_graph", degree, num_slots)
    smooth = _smooth_part(num_slots, degree)
    rough = num_slots // smooth
    length = _simple_length(rough, degree) + max(1, len(strides(smooth, degree)))
    build.check_table("base_graph", num_slots, degree + 1, length)
    if _simple_length(num_slots, degree) < length:
        return build.stack_rounds(_simple_rounds(num_slots, degree))
    return build.stack_rounds(
        [_side_by_side(table, smooth) for table in _simple_rounds(rough, degree)]
        + [_across(num_slots, rough, *step) for step in strides(smooth, degree)]
    )


def _smooth_part(number: int, degree: int) -> int:
    """The largest divisor without a prime factor above degree + 1."""
    rough = number
    for factor in range(2, degree + 2):
        while rough % factor == 0:
            rough //= factor
    return number // rough


def _side_by_side(table: Table, copies: int) -> Table:
    """The same round on several groups of consecutive slots."""
    senders, weights = table
    starts = senders.shape[1] * np.arange(copies)[None, :, None]
    shifted = senders[:, None, :] + starts
    return shifted.reshape(len(senders), -1), np.tile(weights, (1, copies))


def _across(num_slots: int, rough: int, stride: int, factor: int) -> Table:
    """A hyper-hypercube round over slots of the same place in groups of ``rough``."""
    table = silent(num_slots, factor - 1)
    average(table, groups(np.arange(num_slots), stride * rough, factor))
    return table


class _Block(NamedTuple):
    """V_l: n_l = a_l bᵖ consecutive slots."""

    nodes: np.ndarray
    num_groups: int
    """a_l"""

    @property
    def groups(self) -> np.ndarray:
        """V_{l,1..a_l}, [a_l, bᵖ]."""
        return self.nodes.reshape(self.num_groups, -1)


def _blocks(num_slots: int, degree: int) -> list[_Block]:
    """One block for every digit of k in base b that is not 0, the largest first."""
    base, sizes, power, left = degree + 1, [], 1, num_slots
    while left:
        left, digit = divmod(left, base)
        if digit:
            sizes.append((digit, digit * power))
        power *= base
    sizes.reverse()
    ends = np.cumsum([size for _, size in sizes])[:-1]
    parts = np.split(np.arange(num_slots), ends)
    return [
        _Block(nodes, digit) for nodes, (digit, _) in zip(parts, sizes, strict=True)
    ]


def _simple_length(num_slots: int, degree: int) -> int:
    """The period of the Simple Base graph."""
    smooth = factors(num_slots, degree)
    if smooth is not None:
        return max(1, len(smooth))
    first = _blocks(num_slots, degree)[0]
    within = len(strides(first.nodes.size, degree))
    return within + 1 + len(strides(first.groups.shape[1], degree))


def _simple_rounds(num_slots: int, degree: int) -> list[Table]:
    if factors(num_slots, degree) is not None:
        return hyper_hypercube_rounds(num_slots, degree)
    blocks = _blocks(num_slots, degree)
    within = len(strides(blocks[0].nodes.size, degree))
    rounds = []
    for r in range(_simple_length(num_slots, degree)):
        table = silent(num_slots, degree)
        for place, block in enumerate(blocks):
            # The last block has nobody to hand over to, and goes on when all are done.
            exchange = within + min(place, len(blocks) - 2)
            if r < within:
                _average_within(table, block, r, degree)
            elif r > exchange:
                _average_groups(table, block, r - exchange - 1, degree)
            elif r == exchange and place < len(blocks) - 1:
                _exchange(table, block, blocks[place + 1 :], degree)
        rounds.append(table)
    return rounds


def _average_within(table: Table, block: _Block, r: int, degree: int) -> None:
    """Round r, cyclically, of the hyper-hypercube on the whole block."""
    if steps := strides(block.nodes.size, degree):
        average(table, groups(block.nodes, *steps[r % len(steps)]))


def _average_groups(table: Table, block: _Block, r: int, degree: int) -> None:
    """Round r, cyclically, of the hyper-hypercubes on its groups."""
    if block.nodes.size <= degree:  # groups of one: the block as a whole
        _average_within(table, block, r, degree)
    elif steps := strides(block.groups.shape[1], degree):
        average(table, groups(block.nodes, *steps[r % len(steps)]))


def _exchange(table: Table, block: _Block, later: list[_Block], degree: int) -> None:
    """Every later node takes one partner from the end of each group of the block."""
    senders, weights = table
    nodes = np.concatenate([other.nodes for other in reversed(later)])
    share = block.nodes.size / (block.nodes.size + nodes.size)
    weight = share / block.num_groups
    partners = block.groups[:, ::-1][:, : nodes.size]
    senders[1 : 1 + block.num_groups, nodes] = partners
    weights[1 : 1 + block.num_groups, nodes] = weight
    weights[0, nodes] = 1 - share
    senders[1, partners] = nodes
    weights[1, partners] = weight
    weights[0, partners] = 1 - weight
    rest = block.groups[:, : block.groups.shape[1] - nodes.size].ravel()
    full = rest.size - rest.size % (degree + 1)
    average(table, rest[:full].reshape(-1, degree + 1))
    average(table, rest[None, full:])
