"""A graph by its edges: is it connected, which weights, and the table of them."""

from collections.abc import Hashable, Iterator, Sequence
from itertools import chain
from typing import Literal, NamedTuple, get_args

import networkx as nx
import numpy as np
from scipy import sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import LinearOperator, eigsh

from tele_jax.graphs import _build as build
from tele_jax.topology import Periodic, Stochastic, from_senders

Weights = Literal["metropolis_hastings", "max_degree", "laplacian", "best_constant"]

_MAX_EXACT = 2048
"""Most slots of which all eigenvalues are computed."""


class Edges(NamedTuple):
    """The edges of a graph of k slots: each undirected one once, none doubled."""

    num_slots: int
    start: np.ndarray
    """int[E]"""
    end: np.ndarray
    """int[E]"""


def undirected(name: str, edges: Edges) -> Periodic:
    """Metropolis–Hastings weights on a connected graph."""
    check_connected(name, edges, "choose other sizes")
    return laplacian_table(name, edges, "metropolis_hastings")


def check_connected(
    name: str,
    edges: Edges,
    advice: str,
    names: Sequence[Hashable] | None = None,
    directed: bool = False,
) -> None:
    """Refuse a graph in parts, and name them; the advice is what to do."""
    kind = "strong" if directed else "weak"
    count, labels = csgraph.connected_components(_adjacency(edges), True, kind)
    if count == 1:
        return
    names = range(edges.num_slots) if names is None else names
    shown = []
    for label in range(min(count, 3)):
        members = np.flatnonzero(labels == label)
        listed = ", ".join(str(names[i]) for i in members[:5])
        shown.append(f"{{{listed}{', …' if len(members) > 5 else ''}}}")
    raise ValueError(
        f"{name}: the graph falls into {count} "
        f"{'strongly connected ' if directed else ''}components, {', '.join(shown)}"
        f"{', …' if count > 3 else ''}; {advice}."
    )


def _adjacency(edges: Edges) -> sparse.csr_array:
    """Entry (i, j) is an edge from i to j."""
    shape = (edges.num_slots, edges.num_slots)
    ones = np.ones(len(edges.start), np.int8)
    return sparse.coo_array((ones, (edges.start, edges.end)), shape).tocsr()


def of_networkx(graph: nx.Graph) -> Edges:
    """The edges of a graph, its nodes numbered in its own order; no loops."""
    names = list(graph)
    # By neighbours, not by edge: dictionaries are read five times faster than pairs.
    neighbours = [heard for _, heard in graph.adjacency()]
    counts = np.fromiter(map(len, neighbours), np.int64, len(names))
    ends: Iterator[Hashable] = chain.from_iterable(neighbours)
    if names != list(range(len(names))):
        ends = map({node: i for i, node in enumerate(names)}.__getitem__, ends)
    end = np.fromiter(ends, np.int64, int(counts.sum()))
    start = np.repeat(np.arange(len(names)), counts)
    once = start != end if graph.is_directed() else start < end
    return Edges(len(names), start[once], end[once])


def check_weights(name: str, weights: Weights, stochastic: Stochastic) -> None:
    """Refuse words that mean nothing."""
    for what, given, known in (
        ("weights", weights, get_args(Weights)),
        ("stochastic", stochastic, get_args(Stochastic)),
    ):
        if given not in known:
            listed = ", ".join(f'"{word}"' for word in known)
            raise ValueError(f"{name}: got {what}={given!r}, expected one of {listed}.")
    if stochastic != "doubly" and weights != "metropolis_hastings":
        raise ValueError(
            f"{name}: got weights={weights!r} with stochastic={stochastic!r}, expected "
            'stochastic="doubly": otherwise all weights of a slot are equal.'
        )


def both_ways(edges: Edges) -> Edges:
    """Every undirected edge as two directed ones."""
    return Edges(
        edges.num_slots,
        np.concatenate([edges.start, edges.end]),
        np.concatenate([edges.end, edges.start]),
    )


def laplacian_table(name: str, edges: Edges, weights: Weights) -> Periodic:
    arcs = both_ways(edges)
    degree = np.bincount(arcs.end, minlength=edges.num_slots)
    largest = max(1, int(degree.max()))
    if weights == "metropolis_hastings":
        of_arc = 1.0 / (1 + np.maximum(degree[arcs.start], degree[arcs.end]))
    elif weights == "max_degree":
        of_arc = np.full(len(arcs.start), 1 / largest)
    elif weights == "laplacian":
        of_arc = np.full(len(arcs.start), 1 / (1 + largest))
    else:
        of_arc = np.full(len(arcs.start), min(1 / largest, _best_constant(edges)))
    return _table(name, arcs, of_arc)


def _best_constant(edges: Edges) -> float:
    """2 / (λ₂ + λ_k) of the Laplacian."""
    if not len(edges.start):
        return 1.0
    adjacency = _adjacency(both_ways(edges)).astype(float)
    if edges.num_slots > _MAX_EXACT:
        return 2 / _ends_of_spectrum(adjacency).sum()
    values = np.linalg.eigvalsh(csgraph.laplacian(adjacency).toarray())
    return 2 / (values[1] + values[-1])


def _ends_of_spectrum(adjacency: sparse.csr_array) -> np.ndarray:
    """λ₂ and λ_k of L, each to a small fraction of λ_k, by a Lanczos iteration.

    All eigenvalues are raised by d_max, for the tolerance is relative to each, and
    that of the constant vector once more, into the middle of them.
    """
    size, degree = adjacency.shape[0], adjacency.sum(axis=1)
    middle = degree.max()

    def raised(x: np.ndarray) -> np.ndarray:
        return (degree + middle) * x - adjacency @ x + middle * x.mean()

    operator = LinearOperator((size, size), matvec=raised, dtype=np.float64)
    start = np.random.default_rng(0).normal(size=size)
    values = eigsh(operator, 2, which="BE", tol=3e-3, v0=start)[0]
    return values - middle


def directed_table(
    name: str, edges: Edges, directed: bool, stochastic: Stochastic
) -> Periodic:
    arcs = edges if directed else both_ways(edges)
    if stochastic == "column":
        heard = np.bincount(arcs.end, minlength=edges.num_slots)
        return _table(name, arcs, 1 / (1 + heard[arcs.end]))
    told = 1 / (1 + np.bincount(arcs.start, minlength=edges.num_slots))
    return _table(name, arcs, told[arcs.start], own=told)


def _table(
    name: str, arcs: Edges, weights: np.ndarray, own: np.ndarray | None = None
) -> Periodic:
    """Senders of every slot, itself first; by default columns sum to 1."""
    size = arcs.num_slots
    heard = np.bincount(arcs.end, minlength=size)
    build.check_table(name, size, 1 + int(heard.max()))
    shape = (size, size)
    by_receiver = sparse.coo_array((weights, (arcs.end, arcs.start)), shape).tocsr()
    first = by_receiver.indptr[:-1].astype(np.int32)
    row = 1 + np.arange(len(weights), dtype=np.int32) - np.repeat(first, heard)
    column = np.repeat(np.arange(size, dtype=np.int32), heard)
    senders = np.tile(np.arange(size, dtype=np.int32), (1 + int(heard.max()), 1))
    senders[row, column] = by_receiver.indices
    table = np.zeros(senders.shape, np.float32)
    table[row, column] = by_receiver.data
    if own is None:
        # Not below 0 by rounding, where the partners of a slot have all the weight.
        own = np.maximum(0.0, 1.0 - by_receiver.sum(axis=1))
    table[0] = own
    return from_senders(senders[None], table[None])
