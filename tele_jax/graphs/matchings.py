"""MATCHA: a graph taken apart into matchings, each of which is active at random.

J. Wang, A. K. Sahu, Z. Yang, G. Joshi, S. Kar, *MATCHA: Speeding Up Decentralized SGD
via Matching Decomposition Sampling*, ICC 2019, arXiv 1905.09435.
"""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
from flax import struct
from scipy.optimize import linprog, minimize_scalar

from tele_jax._types import Array, Key, Scalar
from tele_jax.graphs import _build as build
from tele_jax.graphs import _edges as edge_tables
from tele_jax.graphs._rounds import round_key
from tele_jax.mixing import Mixing

_MAX_SLOTS = 2048
"""The probabilities are chosen by eigenvalues of [k, k] matrices."""
_MAX_CUTS = 200


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
        chance = jax.random.uniform(round_key(self.key, t), self.probabilities.shape)
        active = (chance < self.probabilities)[:, None]
        own = jnp.arange(self.num_slots, dtype=jnp.int32)[None]
        weights = jnp.where(active & (self.partners != own), self.alpha, 0.0)
        kept = jnp.maximum(0.0, 1 - weights.sum(axis=0, keepdims=True))
        return Mixing(
            jnp.concatenate([own, self.partners]), jnp.concatenate([kept, weights])
        )


def matcha(graph: nx.Graph, key: Key, budget: float) -> Matcha:
    """MATCHA: W = I − α Σ_j B_j L_j with B_j ~ Bernoulli(p_j), one per matching.

    The edges are coloured so that edges of one colour do not touch; L_j is the
    Laplacian of colour j. The p_j with Σ p_j ≤ budget · M maximise the second
    eigenvalue of Σ p_j L_j, and α minimises ‖E[W²] − J‖₂ over α ≤ 1/d_max, which
    leaves no weight negative (the bound is ours). Colours are found greedily (DSATUR):
    the M is mostly d_max or d_max + 1, and at most 2 d_max − 1.
    Symmetric: the mean is preserved; E[W] = I − α Σ p_j L_j.

    Args:
      graph: undirected and connected; slot i is the i-th node in its own order.
      key: decides the active matchings of all rounds; a leaf.
      budget: the share of all edges that may be used on average, in (0, 1].

    Returns:
      A topology with leaves ``partners``, ``probabilities``, ``alpha`` and ``key``;
      others are set with ``.replace(probabilities=...)``.

    Raises:
      ValueError: the graph is not one, is not connected or too large, or the budget is
        not in (0, 1].

    Source: J. Wang et al., arXiv 1905.09435.

    >>> both = matcha(nx.cycle_graph(6), jax.random.key(0), budget=0.5)
    >>> both.probabilities.round(3).tolist()
    [0.5, 0.5]
    """
    if graph.is_directed() or graph.is_multigraph():
        raise ValueError(
            f"matcha: got a {type(graph).__name__}, expected an undirected nx.Graph."
        )
    if not 0 < budget <= 1:
        raise ValueError(f"matcha: got budget={budget}, expected 0 < budget <= 1.")
    size = build.check_size("matcha", graph.number_of_nodes())
    if size > _MAX_SLOTS:
        raise ValueError(
            f"matcha: got {size} slots, expected at most {_MAX_SLOTS}, for it computes "
            "eigenvalues; random_matching has no such limit."
        )
    partners = _partners(graph)
    laplacians = np.array([_laplacian(row) for row in partners])
    probabilities = _best_probabilities(laplacians, budget)
    return Matcha(
        jnp.asarray(partners, jnp.int32),
        jnp.asarray(probabilities, jnp.float32),
        jnp.float32(_best_alpha(laplacians, probabilities)),
        key,
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


def _laplacian(partners: np.ndarray) -> np.ndarray:
    eye = np.eye(len(partners))
    return eye - eye[partners]


def _best_probabilities(laplacians: np.ndarray, budget: float) -> np.ndarray:
    """Maximise λ₂(Σ p_j L_j), the least of vᵀ Σ p_j L_j v over unit v ⊥ 𝟏.

    By cutting planes: each v that was the least is a linear bound, and the best p under
    all bounds gives the next v, until bound and value meet.
    """
    count, size = laplacians.shape[:2]
    best, highest = np.full(count, budget), -np.inf
    if size == 1:
        return best
    cuts: list[np.ndarray] = []
    probabilities = best
    for _ in range(_MAX_CUTS):
        values, vectors = np.linalg.eigh(np.tensordot(probabilities, laplacians, 1))
        if values[1] > highest:
            best, highest = probabilities, values[1]
        for v in vectors[:, 1:4].T:
            cuts.append(np.einsum("i,jik,k->j", v, laplacians, v))
        # Variables (p, s): maximise s under s ≤ cut · p and Σ p ≤ budget · M.
        bounded = np.hstack([-np.array(cuts), np.ones((len(cuts), 1))])
        spent = np.append(np.ones(count), 0.0)
        limits = np.append(np.zeros(len(cuts)), budget * count)
        answer = linprog(
            np.append(np.zeros(count), -1.0),
            np.vstack([bounded, spent]),
            limits,
            bounds=[(0, 1)] * count + [(None, None)],
        )
        probabilities, bound = np.clip(answer.x[:-1], 0, 1), answer.x[-1]
        if bound - highest <= 1e-6:
            break
    return best


def _best_alpha(laplacians: np.ndarray, probabilities: np.ndarray) -> float:
    """Minimise ‖E[W²] − J‖₂ with E[W²] = (I − αL̄)² + 2α² Σ p_j (1 − p_j) L_j."""
    size = laplacians.shape[1]
    eye = np.eye(size)
    mean = np.tensordot(probabilities, laplacians, 1)
    spread = np.tensordot(probabilities * (1 - probabilities), laplacians, 1)
    degree = max(1.0, np.diag(laplacians.sum(axis=0)).max())

    def norm(alpha: float) -> float:
        step = eye - alpha * mean
        second = step @ step + 2 * alpha**2 * spread - 1 / size
        return float(np.linalg.eigvalsh(second)[-1])

    return float(minimize_scalar(norm, bounds=(0, 1 / degree), method="bounded").x)
