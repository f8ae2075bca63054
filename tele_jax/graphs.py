"""The topologies of the field, each a function from a size to a ``Topology``."""

import operator
from collections.abc import Sequence
from typing import SupportsIndex

import networkx as nx
import numpy as np

from tele_jax.topology import Topology, from_senders


def ring(num_slots: int) -> Topology:
    """Every slot averages with its two neighbours on a circle, weight 1/3.

    ``ring(2)`` averages the pair and ``ring(1)`` is the identity.
    Contraction p = Ω(k⁻²). Symmetric, so the mean is preserved.

    >>> ring(5).at(0).senders[:, 0].tolist()
    [0, 1, 4]
    """
    num_slots = _check_size("ring", num_slots)
    return _circulant(num_slots, [{0, 1, -1}])


def complete(num_slots: int) -> Topology:
    """Every slot averages with all, weight 1/k: DSGD on it is all-reduce SGD.

    Contraction p = 1.

    >>> complete(3).at(0).weights.shape
    (3, 3)
    """
    num_slots = _check_size("complete", num_slots)
    return _circulant(num_slots, [set(range(num_slots))])


def exponential(num_slots: int) -> Topology:
    """Slot i sends to i + 2ʲ mod k for every j < ⌈log₂ k⌉; directed, weights equal.

    Contraction p = Ω(1/log k). Doubly stochastic, so the mean is preserved.

    Source: B. Ying, K. Yuan, Y. Chen, H. Hu, P. Pan, W. Yin, *Exponential Graph is
    Provably Efficient for Decentralized Deep Training*, NeurIPS 2021,
    arXiv 2110.13363.

    >>> exponential(16).at(0).senders[:, 8].tolist()
    [8, 0, 4, 6, 7]
    """
    num_slots = _check_size("exponential", num_slots)
    hops = {2**j for j in range(_ceil_log2(num_slots))}
    return _circulant(num_slots, [{0} | {-hop for hop in hops}])


def one_peer_exponential(num_slots: int) -> Topology:
    """In round j slot i averages with what i − 2ʲ mod k sends, weight 1/2; directed.

    The period is ⌈log₂ k⌉, after which all slots agree exactly if and only if k is a
    power of two. Doubly stochastic, so the mean is preserved.

    Source: B. Ying, K. Yuan, Y. Chen, H. Hu, P. Pan, W. Yin, *Exponential Graph is
    Provably Efficient for Decentralized Deep Training*, NeurIPS 2021,
    arXiv 2110.13363.

    >>> one_peer_exponential(8).period
    3
    """
    num_slots = _check_size("one_peer_exponential", num_slots)
    rounds = max(1, _ceil_log2(num_slots))
    return _circulant(num_slots, [{0, -(2**j)} for j in range(rounds)])


def torus(num_rows: int, num_columns: int) -> Topology:
    """Every slot averages with its four neighbours on a doughnut, weight 1/5.

    Neighbours that coincide (a side of 1 or 2) count once. Contraction p = Ω(1/k) on
    a square. Symmetric, so the mean is preserved.

    >>> torus(4, 4).at(0).senders.shape
    (5, 16)
    """
    num_rows = _check_size("torus", num_rows, "row")
    num_columns = _check_size("torus", num_columns, "column")
    row, column = np.divmod(np.arange(num_rows * num_columns), num_columns)
    steps = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
    senders = np.array(
        [
            (row + down) % num_rows * num_columns + (column + right) % num_columns
            for down, right in steps
        ]
    )
    # The graph looks alike from every slot, so slot 0 shows which steps coincide.
    _, distinct = np.unique(senders[:, 0], return_index=True)
    return _equal_weights(senders[None, np.sort(distinct)])


def hypercube(num_slots: int) -> Topology:
    """Every slot averages with the log₂ k slots whose number differs in one bit.

    Weight 1/(log₂ k + 1), contraction p = Ω(1/log k). Symmetric, so the mean is
    preserved.

    Raises:
      ValueError: k is not a power of two.

    >>> hypercube(8).at(0).senders[:, 5].tolist()
    [5, 4, 7, 1]
    """
    num_slots = _check_size("hypercube", num_slots)
    if num_slots & (num_slots - 1):
        below = 1 << (num_slots.bit_length() - 1)
        raise ValueError(
            f"hypercube: got {num_slots} slots, expected a power of two; try {below} "
            f"or {2 * below}."
        )
    flips = np.array([0] + [1 << j for j in range(_ceil_log2(num_slots))])
    return _equal_weights((np.arange(num_slots) ^ flips[:, None])[None])


def chain(num_slots: int) -> Topology:
    """A line with Metropolis–Hastings weights; contraction p = Ω(k⁻²).

    >>> chain(3).at(0).weights.shape
    (3, 3)
    """
    num_slots = _check_size("chain", num_slots)
    return from_networkx(nx.path_graph(num_slots))


def star(num_slots: int) -> Topology:
    """One hub linked with all others, Metropolis–Hastings weights.

    >>> star(4).at(0).senders.shape
    (4, 4)
    """
    num_slots = _check_size("star", num_slots)
    return from_networkx(nx.star_graph(num_slots - 1))


def from_networkx(graph: nx.Graph) -> Topology:
    """Any undirected networkx graph with Metropolis–Hastings weights.

    W_ij = 1 / (1 + max(deg_i, deg_j)) for an edge, and W_ii = 1 − Σ_j W_ij. Symmetric,
    so the mean is preserved; an unconnected graph is accepted and has contraction 0.

    Args:
      graph: slot i is the i-th node in the graph's own order. Edge attributes, and
        edges from a node to itself, are ignored.

    Raises:
      ValueError: the graph is directed, a multigraph or empty.

    Source: L. Xiao, S. Boyd, S.-J. Kim, *Distributed Average Consensus with
    Least-Mean-Square Deviation*, JPDC 2007.

    >>> from_networkx(nx.petersen_graph()).at(0).senders.shape
    (4, 10)
    """
    if graph.is_directed() or graph.is_multigraph():
        raise ValueError(
            f"from_networkx: got a {type(graph).__name__}, expected an undirected "
            "nx.Graph; convert it, or pass its mixing matrices to from_matrices."
        )
    _check_size("from_networkx", graph.number_of_nodes())
    number = {node: i for i, node in enumerate(graph)}
    neighbours = [[number[v] for v in graph[u] if v != u] for u in graph]
    degree = np.array([len(of_slot) for of_slot in neighbours])
    own = np.arange(len(degree))
    senders = np.tile(own, (int(degree.max()) + 1, 1))
    for i, of_slot in enumerate(neighbours):
        senders[1 : 1 + degree[i], i] = of_slot
    weights = np.where(
        senders == own, 0.0, 1.0 / (1 + np.maximum(degree[senders], degree))
    )
    weights[0] = 1.0 - weights.sum(axis=0)
    return from_senders(senders[None], weights[None])


def _check_size(name: str, size: SupportsIndex, what: str = "slot") -> int:
    """The size as a Python integer: NumPy's overflow, and lack its methods."""
    try:
        number = operator.index(size)
    except TypeError:
        raise ValueError(
            f"{name}: got {size!r}, expected a whole number >= 1 of {what}s."
        ) from None
    if number < 1:
        raise ValueError(f"{name}: needs at least 1 {what}, got {number}.")
    return number


def _ceil_log2(number: int) -> int:
    return (number - 1).bit_length()


def _circulant(num_slots: int, offsets: Sequence[set[int]]) -> Topology:
    """Round r: slot i averages the slots i + o for o in offsets[r], weights equal."""
    distinct = [{offset % num_slots for offset in of_round} for of_round in offsets]
    hops = np.array([sorted(of_round) for of_round in distinct])[:, :, None]
    return _equal_weights((np.arange(num_slots) + hops) % num_slots)


def _equal_weights(senders: np.ndarray) -> Topology:
    return from_senders(senders, np.full(senders.shape, 1.0 / senders.shape[1]))
