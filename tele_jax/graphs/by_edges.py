"""Graphs by their edges: the classics, and any networkx graph."""

import networkx as nx
import numpy as np

from tele_jax.graphs import _build as build
from tele_jax.graphs import _edges as edge_tables
from tele_jax.graphs._edges import Edges, Weights
from tele_jax.topology import Periodic, Stochastic


def chain(num_slots: int) -> Periodic:
    """A line with Metropolis–Hastings weights; contraction p = Ω(k⁻²).

    Symmetric: the mean is preserved.

    >>> chain(3).at(0).weights.shape
    (3, 3)
    """
    num_slots = build.check_size("chain", num_slots)
    build.check_table("chain", num_slots, 3)
    slots = np.arange(num_slots)
    return edge_tables.undirected("chain", Edges(num_slots, slots[:-1], slots[1:]))


def star(num_slots: int) -> Periodic:
    """One hub linked with all others, Metropolis–Hastings weights.

    Symmetric: the mean is preserved.

    Raises:
      ValueError: the table, [k, k] for the hub's sake, would be too large.

    >>> star(4).at(0).senders.shape
    (4, 4)
    """
    num_slots = build.check_size("star", num_slots)
    build.check_table("star", num_slots, num_slots)
    slots = np.arange(num_slots)
    return edge_tables.undirected(
        "star", Edges(num_slots, np.zeros_like(slots[1:]), slots[1:])
    )


def barbell(num_slots: int) -> Periodic:
    """Two cliques of ⌈k/2⌉ and ⌊k/2⌋ slots, joined by one edge.

    Metropolis–Hastings weights; contraction p = Θ(k⁻²), the bottleneck at its worst.
    Symmetric: the mean is preserved.

    >>> barbell(8).at(0).senders.shape
    (5, 8)
    """
    num_slots = build.check_size("barbell", num_slots)
    half = (num_slots + 1) // 2
    build.check_table("barbell", num_slots, half + 1)
    first, second = np.triu_indices(half, 1), np.triu_indices(num_slots - half, 1)
    bridge = np.arange(half - 1, min(half, num_slots - 1))
    start = np.concatenate([first[0], half + second[0], bridge])
    end = np.concatenate([first[1], half + second[1], bridge + 1])
    return edge_tables.undirected("barbell", Edges(num_slots, start, end))


def caveman(num_cliques: int, clique_size: int) -> Periodic:
    """Cliques in a circle: one edge of each is rewired to the clique before it.

    A single clique stays whole.
    Metropolis–Hastings weights, the graph of ``networkx.connected_caveman_graph``.
    Symmetric: the mean is preserved.

    Raises:
      ValueError: a number is below 1, or cliques of 2 fall apart into pairs.

    Source: D. J. Watts, *Networks, Dynamics, and the Small-World Phenomenon*,
    American Journal of Sociology 1999.

    >>> caveman(3, 4).num_slots
    12
    """
    num_cliques = build.check_size("caveman", num_cliques, "clique")
    clique_size = build.check_size(
        "caveman", clique_size, "slot of a clique", "slots of a clique"
    )
    num_slots = num_cliques * clique_size
    build.check_table("caveman", num_slots, clique_size + 1)
    starts = clique_size * np.arange(num_cliques)[:, None]
    first, second = np.triu_indices(clique_size, 1)
    start, end = starts + first, starts + second
    if num_cliques > 1 and clique_size > 1:  # the edge (0, 1) of every clique
        end[:, 0] = (starts[:, 0] - 1) % num_slots
    return edge_tables.undirected(
        "caveman", Edges(num_slots, start.ravel(), end.ravel())
    )


def from_networkx(
    graph: nx.Graph,
    weights: Weights = "metropolis_hastings",
    *,
    stochastic: Stochastic = "doubly",
    allow_disconnected: bool = False,
) -> Periodic:
    """Any networkx graph.

    Undirected, and W = Wᵀ, so the mean is preserved:

    - ``"metropolis_hastings"``: W_ij = 1 / (1 + max(deg_i, deg_j)).
    - ``"max_degree"``: W = I − L / d_max, with the graph's Laplacian L.
    - ``"laplacian"``: W = I − L / (d_max + 1).
    - ``"best_constant"``: W = I − αL with the α ≤ 1 / d_max of the largest
      contraction, 2 / (λ₂ + λ_k) where that is small enough to leave no weight
      negative. Above 2,048 slots λ₂ and λ_k are estimated, and α is within 0.1 %.

    Directed, with equal weights, and the mean need not be preserved:
    ``stochastic="column"`` lets every slot average itself with what it receives,
    ``"row"`` lets it split its model between itself and those it sends to.

    Args:
      graph: slot i is the i-th node in the graph's own order. Edge attributes, and
        edges from a node to itself, are ignored.
      weights: of an undirected graph with ``stochastic="doubly"``.
      stochastic: which sums of W are 1.
      allow_disconnected: accept a graph whose slots can never agree.

    Raises:
      ValueError: the graph is a multigraph, empty, directed without being declared
        "column" or "row", or not (strongly) connected; or the weights are unknown.

    Source: L. Xiao, S. Boyd, *Fast Linear Iterations for Distributed Averaging*,
    Systems & Control Letters 2004; L. Xiao, S. Boyd, S.-J. Kim, *Distributed Average
    Consensus with Least-Mean-Square Deviation*, JPDC 2007.

    >>> from_networkx(nx.petersen_graph()).at(0).senders.shape
    (4, 10)
    """
    name = "from_networkx"
    if not isinstance(graph, nx.Graph):
        raise ValueError(
            f"{name}: got a {type(graph).__name__}, expected an nx.Graph or nx.DiGraph;"
            " pass mixing matrices to from_matrices."
        )
    edge_tables.check_weights(name, weights, stochastic)
    if graph.is_multigraph():
        raise ValueError(
            f"{name}: got a {type(graph).__name__}, expected an nx.Graph or nx.DiGraph;"
            " convert it, or pass its mixing matrices to from_matrices."
        )
    if graph.is_directed() and stochastic == "doubly":
        raise ValueError(
            f"{name}: got a {type(graph).__name__} and stochastic='doubly'; pass "
            'stochastic="column" to average what is received, "row" to split what is '
            "sent, or graph.to_undirected()."
        )
    build.check_size(name, graph.number_of_nodes())
    names = list(graph)
    edges = edge_tables.of_networkx(graph)
    if not allow_disconnected:
        advice = "join them, or pass allow_disconnected=True"
        edge_tables.check_connected(name, edges, advice, names, graph.is_directed())
    if stochastic == "doubly":
        return edge_tables.laplacian_table(name, edges, weights)
    return edge_tables.directed_table(name, edges, graph.is_directed(), stochastic)
