"""Fixed graphs drawn once, from a seed.

Drawn with NumPy: at 100,000 slots the same graphs take networkx up to a minute.
"""

import numpy as np

from tele_jax.graphs import _build as build
from tele_jax.graphs import _edges as edge_tables
from tele_jax.graphs._edges import Edges, Weights
from tele_jax.topology import Periodic

_ADVICE = "choose another seed or more edges, or pass allow_disconnected=True"
_MAX_TRIES = 1000


def erdos_renyi(
    num_slots: int, probability: float, seed: int, *, allow_disconnected: bool = False
) -> Periodic:
    """Every pair of slots is linked with the same probability.

    Metropolis–Hastings weights. Symmetric: the mean is preserved.

    Args:
      num_slots: k.
      probability: of an edge; above ln(k)/k the graph is likely to be connected.
      seed: decides the graph.
      allow_disconnected: accept a graph whose slots can never agree.

    Raises:
      ValueError: the probability is not in [0, 1], or the graph is not connected.

    Source: P. Erdős, A. Rényi, *On Random Graphs I*, Publ. Math. Debrecen 1959;
    E. N. Gilbert, *Random Graphs*, Ann. Math. Statist. 1959.

    >>> erdos_renyi(20, 0.4, seed=0).num_slots
    20
    """
    name = "erdos_renyi"
    num_slots = build.check_size(name, num_slots)
    probability = build.check_probability(name, "probability", probability)
    rng = np.random.default_rng(build.check_seed(name, seed))
    num_pairs = num_slots * (num_slots - 1) // 2
    build.check_table(name, num_slots, int(probability * (num_slots - 1)) + 1)
    chosen = rng.choice(num_pairs, rng.binomial(num_pairs, probability), replace=False)
    edges = Edges(num_slots, *_pairs(chosen))
    return _weighted(name, edges, allow_disconnected)


def random_regular(
    num_slots: int, degree: int, seed: int, *, allow_disconnected: bool = False
) -> Periodic:
    """Every slot has the same number of partners, drawn at random.

    W = (I + A)/(degree + 1). Drawn by the pairing model, in which loops and doubled
    edges are switched away with random others; not exactly uniform for small k.
    Symmetric: the mean is preserved.

    Args:
      num_slots: k.
      degree: partners of every slot; more than k − 1 mean k − 1. k · degree is even.
      seed: decides the graph.
      allow_disconnected: accept a graph whose slots can never agree.

    Raises:
      ValueError: k · degree is odd, or the graph is not connected.

    Source: B. D. McKay, N. C. Wormald, *Uniform Generation of Random Regular Graphs of
    Moderate Degree*, Journal of Algorithms 1990.

    >>> random_regular(10, 3, seed=0).at(0).senders.shape
    (4, 10)
    """
    name = "random_regular"
    num_slots = build.check_size(name, num_slots)
    degree = min(build.check_degree(name, degree, num_slots), num_slots - 1)
    if num_slots * degree % 2:
        raise ValueError(
            f"{name}: got {num_slots} slots and degree={degree}, expected an even "
            f"product; use degree={degree + 1}, or {num_slots + 1} slots."
        )
    build.check_table(name, num_slots, degree + 1)
    rng = np.random.default_rng(build.check_seed(name, seed))
    if 2 * degree < num_slots:
        edges = _regular_edges(rng, num_slots, degree)
    else:  # too dense to switch edges in: the partners are those that are left out
        left_out = _regular_edges(rng, num_slots, num_slots - 1 - degree)
        all_pairs = np.arange(num_slots * (num_slots - 1) // 2)
        edges = Edges(num_slots, *_pairs(np.setdiff1d(all_pairs, _codes(left_out))))
    return _weighted(name, edges, allow_disconnected, "laplacian")


def watts_strogatz(
    num_slots: int,
    degree: int,
    probability: float,
    seed: int,
    *,
    allow_disconnected: bool = False,
) -> Periodic:
    """A ring of near neighbours, some of whose edges lead anywhere: a small world.

    Every slot is linked with the degree/2 next ones on both sides; then every edge
    keeps its first end and, with the given probability, gets a random other one.
    Metropolis–Hastings weights. Symmetric: the mean is preserved.

    Args:
      num_slots: k.
      degree: mean number of partners, even; more than k − 1 mean the largest even
        number up to k − 1.
      probability: of an edge to be rewired.
      seed: decides the graph.
      allow_disconnected: accept a graph whose slots can never agree.

    Raises:
      ValueError: the degree is odd or below 2, the probability is not in [0, 1], or
        the graph is not connected.

    Source: D. J. Watts, S. H. Strogatz, *Collective Dynamics of 'Small-World'
    Networks*, Nature 1998.

    >>> watts_strogatz(20, 4, 0.1, seed=0).num_slots
    20
    """
    name = "watts_strogatz"
    num_slots = build.check_size(name, num_slots)
    probability = build.check_probability(name, "probability", probability)
    number = build.check_whole(name, degree, "an even whole number as degree")
    if number < 2 or number % 2:
        raise ValueError(
            f"{name}: got degree={number}, expected an even number of at least 2."
        )
    number = min(number, max(2, 2 * ((num_slots - 1) // 2)))
    build.check_table(name, num_slots, number + 1)
    # Two slots are neighbours once only, and one has none.
    slots = np.arange(num_slots if num_slots > 2 else num_slots - 1)
    hops = np.arange(1, 1 + min(number // 2, num_slots // 2))[:, None]
    start = np.broadcast_to(slots, (len(hops), len(slots))).ravel()
    lattice = Edges(num_slots, start, (slots + hops).ravel() % num_slots)
    rng = np.random.default_rng(build.check_seed(name, seed))
    return _weighted(name, _rewire(rng, lattice, probability), allow_disconnected)


def _weighted(
    name: str,
    edges: Edges,
    allow_disconnected: bool,
    weights: Weights = "metropolis_hastings",
) -> Periodic:
    if not allow_disconnected:
        edge_tables.check_connected(name, edges, _ADVICE)
    return edge_tables.laplacian_table(name, edges, weights)


def _codes(edges: Edges) -> np.ndarray:
    """One number for every pair i < j, j (j − 1)/2 + i."""
    low, high = np.minimum(*edges[1:]), np.maximum(*edges[1:]).astype(np.int64)
    return high * (high - 1) // 2 + low


def _pairs(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs i < j of these numbers."""
    high = ((1 + np.sqrt(1 + 8 * codes.astype(np.float64))) / 2).astype(np.int64)
    high -= high * (high - 1) // 2 > codes  # where the square root was rounded up
    high += high * (high + 1) // 2 <= codes  # or down
    return codes - high * (high - 1) // 2, high


def _doubled(codes: np.ndarray) -> np.ndarray:
    """The codes that are there more than once."""
    ordered = np.sort(codes)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _among(codes: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Which codes are in a sorted array."""
    if not len(some):
        return np.zeros(len(codes), bool)
    place = np.minimum(np.searchsorted(some, codes), len(some) - 1)
    return some[place] == codes


def _regular_edges(rng: np.random.Generator, num_slots: int, degree: int) -> Edges:
    """Stubs joined at random; wrong edges swap an end with a random edge each."""
    for _ in range(_MAX_TRIES):
        stubs = rng.permutation(np.repeat(np.arange(num_slots, dtype=np.int32), degree))
        edges = Edges(num_slots, *stubs.reshape(2, -1))
        if _switch_away(rng, edges):
            return edges
    raise AssertionError("random_regular: no simple graph was found")


def _switch_away(rng: np.random.Generator, edges: Edges) -> bool:
    """Whether all loops and doubled edges could be switched away, in place."""
    start, end = edges.start, edges.end
    codes = _codes(edges)
    wrong = np.flatnonzero(_among(codes, _doubled(codes)) | (start == end))
    for _ in range(_MAX_TRIES):
        if not len(wrong):
            return True
        other = rng.integers(len(end), size=len(wrong))
        for a, b in zip(wrong, other, strict=True):
            end[[a, b]] = end[[b, a]]
        changed = np.union1d(wrong, other)
        part = Edges(edges.num_slots, start[changed], end[changed])
        codes[changed] = _codes(part)
        # What was right before can be wrong now only by an edge that has changed.
        again = np.unique(codes[changed])
        alike = np.flatnonzero(_among(codes, again))
        doubled = alike[_among(codes[alike], _doubled(codes[alike]))]
        wrong = np.union1d(doubled, changed[part.start == part.end])
    return False


def _rewire(rng: np.random.Generator, edges: Edges, probability: float) -> Edges:
    """Random edges get a random other end that makes neither loop nor double.

    An edge for which none is found stays where it is.
    """
    end = edges.end.copy()
    moving = np.flatnonzero(rng.random(len(end)) < probability)
    for _ in range(_MAX_TRIES):
        if not len(moving):
            break
        tried = Edges(
            edges.num_slots,
            edges.start[moving],
            rng.integers(edges.num_slots, size=len(moving)),
        )
        codes = _codes(tried)
        _, first = np.unique(codes, return_index=True)
        free = np.zeros(len(moving), bool)
        free[first] = True
        free &= tried.start != tried.end
        free &= ~_among(codes, np.sort(_codes(edges._replace(end=end))))
        end[moving[free]] = tried.end[free]
        moving = moving[~free]
    return edges._replace(end=end)
