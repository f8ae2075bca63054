"""MATCHA: a graph taken apart into matchings, each of which is active at random.

J. Wang, A. K. Sahu, Z. Yang, G. Joshi, S. Kar, *MATCHA: Speeding Up Decentralized SGD
via Matching Decomposition Sampling*, ICC 2019, arXiv 1905.09435.
"""

import numbers

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
from flax import struct
from scipy.optimize import linprog, minimize_scalar

from tele_jax._types import Array, Key, Scalar
from tele_jax.graphs import _build as build
from tele_jax.graphs import _edges as edge_tables
from tele_jax.graphs._rounds import check_key, round_key
from tele_jax.mixing import Mixing

_MAX_SLOTS, _MAX_EDGES = 1024, 20_000
"""The probabilities are chosen by eigenvalues of [k, k] matrices."""
_MAX_CUTS = 1500
_GAP = 1e-3
"""How far from the best the probabilities may be, relatively."""


@struct.dataclass
class Matcha:
    """Matchings that are active at random; made by ``matcha``."""

    partners: Array
    """int32[M, k]: whom slot i is matched with, itself if with nobody."""
    probabilities: Array
    """float32[M]: how likely each matching is active in a round."""
    alpha: Scalar
    """The weight of an active edge."""
    key: Key

    @property
    def num_slots(self) -> int:
        """The number k of slots."""
        return self.partners.shape[-1]

    @property
    def period(self) -> None:
        """Rounds are random."""

    def at(self, t: Array | int) -> Mixing:
        """The active matchings of round t."""
        chance = jax.random.uniform(
            round_key("matcha", self.key, t), self.probabilities.shape, jnp.float32
        )
        active = (chance < self.probabilities)[:, None]
        own = jnp.arange(self.num_slots, dtype=jnp.int32)[None]
        weights = jnp.where(active & (self.partners != own), self.alpha, 0.0)
        kept = jnp.maximum(0.0, 1 - weights.sum(axis=0, keepdims=True))
        return Mixing(
            jnp.concatenate([own, self.partners]), jnp.concatenate([kept, weights])
        )


def matcha(graph: nx.Graph, budget: float, key: Key) -> Matcha:
    """MATCHA: W = I − α Σ_j B_j L_j with B_j ~ Bernoulli(p_j), one per matching.

    The edges are coloured so that edges of one colour do not touch; L_j is the
    Laplacian of colour j. The p_j with Σ p_j ≤ budget · M maximise the second
    eigenvalue of Σ p_j L_j, to 0.1 %, and α minimises ‖E[W²] − J‖₂ over α ≤ 1/d_max,
    which leaves no weight negative (the bound is ours). Colours are found greedily
    (DSATUR): M is mostly d_max or d_max + 1, and at most 2 d_max − 1.
    Symmetric: the mean is preserved; E[W] = I − α Σ p_j L_j.

    Args:
      graph: undirected and connected; slot i is the i-th node in its own order.
      budget: the share of the matchings that is active on average, in (0, 1].
      key: decides the active matchings of all rounds; a leaf.

    Returns:
      A topology with leaves ``partners``, ``probabilities``, ``alpha`` and ``key``;
      others are set with ``.replace(probabilities=...)``.

    Raises:
      ValueError: the graph is not one, is not connected or too large, or the budget is
        not in (0, 1].

    Source: J. Wang et al., arXiv 1905.09435.

    >>> both = matcha(nx.cycle_graph(6), 0.5, jax.random.key(0))
    >>> both.probabilities.round(3).tolist()
    [0.5, 0.5]
    """
    _check(graph, budget)
    partners = _partners(graph)
    probabilities = _best_probabilities(partners, budget)
    return Matcha(
        jnp.asarray(partners, jnp.int32),
        jnp.asarray(probabilities, jnp.float32),
        jnp.float32(_best_alpha(partners, probabilities)),
        check_key("matcha", key),
    )


def _check(graph: nx.Graph, budget: float) -> None:
    if not isinstance(graph, nx.Graph) or graph.is_directed() or graph.is_multigraph():
        raise ValueError(
            f"matcha: got {type(graph).__name__}, expected an undirected nx.Graph."
        )
    if not (isinstance(budget, numbers.Real) and 0 < budget <= 1):
        raise ValueError(
            f"matcha: got budget={build.told(budget)}, expected 0 < budget <= 1."
        )
    size = build.check_size("matcha", graph.number_of_nodes())
    if size > _MAX_SLOTS or graph.number_of_edges() > _MAX_EDGES:
        raise ValueError(
            f"matcha: got {size:,} slots and {graph.number_of_edges():,} edges, "
            f"expected at most {_MAX_SLOTS:,} and {_MAX_EDGES:,}, for it computes many "
            "eigenvalues; random_matching has no such limit."
        )


def _partners(graph: nx.Graph) -> np.ndarray:
    """The matchings of the edges' colours, int[M, k]."""
    number = {node: i for i, node in enumerate(graph)}
    plain = nx.Graph()
    plain.add_nodes_from(range(len(number)))
    plain.add_edges_from((number[u], number[v]) for u, v in graph.edges if u != v)
    start, end = np.array(plain.edges, np.int64).reshape(-1, 2).T
    edges = edge_tables.Edges(len(number), start, end)
    edge_tables.check_connected("matcha", edges, "join them", list(graph))
    colours = nx.greedy_color(nx.line_graph(plain), strategy="DSATUR")
    num_colours = 1 + max(colours.values(), default=0)
    partners = np.tile(np.arange(len(number)), (num_colours, 1))
    for (u, v), colour in colours.items():
        partners[colour, [u, v]] = v, u
    return partners


def _laplacian(partners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ_j weights_j L_j, [k, k]."""
    size = partners.shape[1]
    own = np.broadcast_to(np.arange(size), partners.shape)
    matrix = np.diag(np.full(size, weights.sum()))
    np.subtract.at(
        matrix, (own, partners), np.broadcast_to(weights[:, None], own.shape)
    )
    return matrix


def _best_probabilities(partners: np.ndarray, budget: float) -> np.ndarray:
    """Maximise λ₂(Σ p_j L_j), the least of vᵀ Σ p_j L_j v over unit v ⊥ 𝟏.

    By cutting planes: each v that was the least is a linear bound, and the best p under
    all bounds gives the next v, until bound and value meet.
    """
    count, size = partners.shape
    probabilities = best = np.full(count, budget)
    highest, cuts = -np.inf, np.zeros((0, count))
    while size > 1 and len(cuts) < _MAX_CUTS:
        matrix = _laplacian(partners, probabilities)
        # The mean's eigenvalue 0 is lifted above the others, which are at most 2 M:
        # all other vectors are ⊥ 𝟏 then, even if the graph falls apart.
        values, vectors = np.linalg.eigh(matrix + 3.0 * count / size)
        if values[0] > highest:
            best, highest = probabilities, values[0]
        least = vectors[:, : min(3, size - 1)].T
        # vᵀ L_j v = ½ Σ_i (v_i − v_j(i))², j(i) the partner of i.
        steps = least[:, None, :] - least[:, partners]
        cuts = np.vstack([cuts, (steps**2).sum(axis=2) / 2])
        probabilities, bound = _best_under(cuts, budget)
        if bound - highest <= _GAP * bound:
            break
    return best


def _best_under(cuts: np.ndarray, budget: float) -> tuple[np.ndarray, float]:
    """The p in [0, 1]ᴹ, Σ p ≤ budget · M, of the largest s ≤ cut · p for all cuts."""
    count = cuts.shape[1]
    answer = linprog(
        np.append(np.zeros(count), -1.0),
        np.vstack([np.hstack([-cuts, np.ones((len(cuts), 1))]), [*[1.0] * count, 0.0]]),
        np.append(np.zeros(len(cuts)), budget * count),
        bounds=[(0, 1)] * count + [(None, None)],
    )
    return np.clip(answer.x[:-1], 0, 1), float(answer.x[-1])


def _best_alpha(partners: np.ndarray, probabilities: np.ndarray) -> float:
    """Minimise ‖E[W²] − J‖₂ with E[W²] = (I − αL̄)² + 2α² Σ p_j (1 − p_j) L_j."""
    size = partners.shape[1]
    eye = np.eye(size)
    mean = _laplacian(partners, probabilities)
    spread = _laplacian(partners, probabilities * (1 - probabilities))
    degree = max(1, int((partners != np.arange(size)).sum(axis=0).max()))

    def norm(alpha: float) -> float:
        step = eye - alpha * mean
        second = step @ step + 2 * alpha**2 * spread - 1 / size
        return float(np.linalg.eigvalsh(second)[-1])

    return float(minimize_scalar(norm, bounds=(0, 1 / degree), method="bounded").x)
