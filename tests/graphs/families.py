"""Every builder of topologies and what it promises; a topology of every form."""

from collections.abc import Callable, Collection
from typing import NamedTuple

import jax
import networkx as nx
import numpy as np

import tele_jax as tele
from tele_jax import graphs
from tests.graphs.arithmetic import (
    base_periods,
    log2,
    power_of_two_below,
    sides,
    smooth_below,
    three_cliques,
)


class Family(NamedTuple):
    """A family of topologies, and what it promises at k slots."""

    build: Callable[[int], tele.Topology]
    degree: Callable[[int], int]
    """Most others that a slot hears in a round."""
    periods: Callable[[int], Collection[int | None]] = lambda k: {1}
    """What the period may be; None: rounds are random."""
    symmetric: bool = True
    """W = Wᵀ in every round."""
    stochastic: str = "doubly"
    """Which sums of W are 1."""
    out_degree: Callable[[int], int] | None = None
    """Most others that hear a slot; by default as many as it hears."""
    exact: Callable[[int], bool] | None = None
    """Whether all agree after a period; None: not said."""
    size: Callable[[int], int] = lambda k: k
    """How many slots there are, where not every k is possible."""


def at_most(partners: int) -> Callable[[int], int]:
    """The degree of a graph of so many partners where there are enough others."""
    return lambda k: min(partners, k - 1)


def random_tree(k: int) -> tele.Topology:
    """Metropolis–Hastings weights on slots of very unequal degree."""
    graph = nx.random_labeled_tree(k, seed=k) if k > 1 else nx.empty_graph(1)
    return graphs.from_networkx(graph)


def random_digraph(k: int) -> nx.DiGraph:
    """Strongly connected, each slot with as many partners as it happens to get."""
    graph = nx.gnp_random_graph(k, 0.2, seed=k, directed=True)
    graph.add_edges_from((i, (i + 1) % k) for i in range(k) if k > 1)
    return graph


def some_alive(k: int) -> np.ndarray:
    """bool[k]: every third slot is dead, slot 0 is alive."""
    return np.arange(k) % 3 != 1


def _union(k: int) -> tele.Topology:
    first, second = graphs.ring(k - k // 2), k // 2
    blocks = [first, graphs.base_graph(second, 1)] if second else [first]
    return graphs.disjoint_union(*blocks)


def _union_periods(k: int) -> Collection[int]:
    return base_periods(1)(max(1, k // 2))


def _random(k: int) -> Collection[None]:
    del k
    return {None}


def _always(k: int) -> bool:
    del k
    return True


def _up_to(size: int) -> Callable[[int], bool]:
    return lambda k: k <= size


def _key(k: int) -> jax.Array:
    return jax.random.key(k)


def _hyper_hypercube(degree: int) -> Family:
    def size(k: int) -> int:
        return smooth_below(k, degree)

    return Family(
        lambda k: graphs.hyper_hypercube(size(k), degree),
        lambda k: min(degree, size(k) - 1),
        # Between factors of degree + 1 only and factors of 2 only.
        lambda k: range(1, 1 + max(1, log2(size(k)))),
        exact=_always,
        size=size,
    )


def _base(build: Callable[[int, int], tele.Topology], degree: int) -> Family:
    return Family(
        lambda k: build(k, degree), at_most(degree), base_periods(degree), exact=_always
    )


BUILDERS: dict[str, Family] = {
    "ring": Family(graphs.ring, at_most(2), exact=_up_to(3)),
    "chain": Family(graphs.chain, at_most(2), exact=_up_to(2)),
    "star": Family(graphs.star, lambda k: k - 1, exact=_up_to(2)),
    "complete": Family(graphs.complete, lambda k: k - 1, exact=_always),
    "torus": Family(lambda k: graphs.torus(*sides(k)), at_most(4)),
    "hypercube": Family(
        lambda k: graphs.hypercube(power_of_two_below(k)),
        lambda k: k.bit_length() - 1,
        exact=_up_to(3),  # of which 3 means 2
        size=power_of_two_below,
    ),
    "exponential": Family(graphs.exponential, log2, symmetric=False, exact=_up_to(3)),
    "barbell": Family(graphs.barbell, lambda k: min((k + 1) // 2, k - 1)),
    "caveman": Family(
        lambda k: graphs.caveman(*three_cliques(k)),
        lambda k: min(three_cliques(k)[1], k - 1),
    ),
    "random_tree": Family(random_tree, lambda k: k - 1),
    "column_digraph": Family(
        lambda k: graphs.from_networkx(random_digraph(k), stochastic="column"),
        lambda k: k - 1,
        symmetric=False,
        stochastic="column",
    ),
    "row_digraph": Family(
        lambda k: graphs.from_networkx(random_digraph(k), stochastic="row"),
        lambda k: k - 1,
        symmetric=False,
        stochastic="row",
    ),
    "erdos_renyi": Family(
        lambda k: graphs.erdos_renyi(k, 0.3, k, allow_disconnected=True),
        lambda k: k - 1,
    ),
    "random_regular": Family(lambda k: graphs.random_regular(k, 4, k), at_most(4)),
    "watts_strogatz": Family(
        lambda k: graphs.watts_strogatz(k, 4 if k > 4 else 2, 0.2, k), lambda k: k - 1
    ),
    "d_equistatic": Family(
        lambda k: graphs.d_equistatic(k, 3, k, allow_disconnected=True),
        at_most(3),
        symmetric=False,
    ),
    "u_equistatic": Family(
        lambda k: graphs.u_equistatic(k, 3, k, allow_disconnected=True), at_most(6)
    ),
    "one_peer_exponential": Family(
        graphs.one_peer_exponential,
        at_most(1),
        lambda k: {max(1, log2(k))},
        symmetric=False,
        exact=lambda k: k.bit_count() == 1,
    ),
    "one_peer_hypercube": Family(
        lambda k: graphs.one_peer_hypercube(power_of_two_below(k)),
        lambda k: min(1, k - 1),
        lambda k: {max(1, k.bit_length() - 1)},
        exact=_always,
        size=power_of_two_below,
    ),
    "hyper_hypercube_2": _hyper_hypercube(2),
    "hyper_hypercube_4": _hyper_hypercube(4),
    "simple_base_graph_1": _base(graphs.simple_base_graph, 1),
    "simple_base_graph_3": _base(graphs.simple_base_graph, 3),
    "base_graph_1": _base(graphs.base_graph, 1),
    "base_graph_2": _base(graphs.base_graph, 2),
    "matcha": Family(
        lambda k: graphs.matcha(nx.circulant_graph(k, [1, 2]), 0.5, _key(k)),
        at_most(4),
        _random,
    ),
    "random_matching": Family(
        lambda k: graphs.random_matching(k, _key(k)), at_most(1), _random
    ),
    "randomized_gossip": Family(
        lambda k: graphs.randomized_gossip(k, _key(k)), at_most(1), _random
    ),
    "od_equidyn": Family(
        lambda k: graphs.od_equidyn(k, _key(k)), at_most(1), _random, symmetric=False
    ),
    "ou_equidyn": Family(lambda k: graphs.ou_equidyn(k, _key(k)), at_most(1), _random),
    "el_oracle": Family(
        lambda k: graphs.el_oracle(k, 3, _key(k)), at_most(3), _random, symmetric=False
    ),
    "el_local": Family(
        lambda k: graphs.el_local(k, 3, _key(k)),
        lambda k: k - 1,
        _random,
        symmetric=False,
        stochastic="column",
        out_degree=at_most(3),
    ),
    "relabelled_chain": Family(
        lambda k: graphs.relabel(graphs.chain(k), np.roll(np.arange(k), 1)), at_most(2)
    ),
    "randomly_relabelled_star": Family(
        lambda k: graphs.randomly_relabel(graphs.star(k), _key(k)),
        lambda k: k - 1,
        _random,
    ),
    "lazy_exponential": Family(
        lambda k: graphs.lazy(graphs.exponential(k)), log2, symmetric=False
    ),
    "lazy_complete": Family(lambda k: graphs.lazy(graphs.complete(k)), lambda k: k - 1),
    "repeated_one_peer_exponential": Family(
        lambda k: graphs.repeat(graphs.one_peer_exponential(k), 2),
        lambda k: min(3, k - 1),
        lambda k: {max(1, log2(k)) // (2 if log2(k) % 2 == 0 and k > 1 else 1)},
        symmetric=False,
        exact=lambda k: k.bit_count() == 1,
    ),
    "union": Family(
        _union, lambda k: min(2, max(k - k // 2 - 1, k // 2 - 1)), _union_periods
    ),
    "restricted_ring": Family(
        lambda k: graphs.restrict(graphs.ring(k), some_alive(k)), at_most(2)
    ),
    "restricted_exponential": Family(
        lambda k: graphs.restrict(graphs.exponential(k), some_alive(k)),
        log2,
        symmetric=False,
        stochastic="column",
    ),
}
"""Every builder of ``tele_jax.graphs``, name to what it promises."""

FORMS: dict[str, Callable[[int], tele.Topology]] = {
    "pull": graphs.exponential,
    "padded": graphs.star,
    "random_pull": lambda k: graphs.el_oracle(k, 2, _key(k)),
    "push": lambda k: graphs.el_local(k, 3, _key(k)),
    "rank_one": graphs.complete,
    "repeated": lambda k: graphs.repeat(graphs.one_peer_exponential(k), 2),
    "repeated_push": lambda k: graphs.repeat(graphs.el_local(k, 2, _key(k)), 2),
    "repeated_rank_one": lambda k: graphs.repeat(graphs.lazy(graphs.complete(k)), 2),
}
"""A topology of k slots for every way to write a round down."""
