"""How fast gossip brings the slots together."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse.linalg import lobpcg_standard

from tele_jax._types import Array
from tele_jax.analysis._exact import check_sums, exact_columns, exact_mixing
from tele_jax.gossip import mix
from tele_jax.topology import Topology, to_matrices

_MAX_EXACT = 2048
"""Most slots of which a [k, k] matrix is written down."""
_MAX_EXACT_SAMPLES = 256
"""The same, for every one of many random rounds."""
_EXACT = 1e-6
"""Disagreement of unit-variance numbers that is rounding of float32 weights."""
_SAMPLES = 2000
_AT_ONCE = 100
"""Matrices of random rounds in memory."""
_SEARCHED = 64
"""Random rounds in which the worst direction is sought where no matrix is made."""
_ITERATIONS = 1000
_COLUMNS = 4
"""Vectors that the iteration refines together, and how often."""


def contraction(
    topology: Topology, *, start: int = 0, num_rounds: int | None = None
) -> float:
    """How much gossip shrinks disagreement, p = 1 − ‖W⁽¹⁾⋯W⁽ʳ⁾ − J‖₂².

    J = 𝟏𝟏ᵀ/k, and ‖X W − X̄‖² ≤ (1 − p) ‖X − X̄‖² over the rounds. p = 1 means that
    they average exactly, p = 0 that they need not bring the slots closer. It is meant
    for doubly stochastic W; where the mean moves (columns alone sum to 1), p may be
    negative. Computed in float64, with columns that sum to 1 exactly.

    The exact singular value for k ≤ 2,048. Above, an iteration through ``gossip.mix``
    (LOBPCG) that holds a few vectors of length k: it approaches the norm from below,
    so p from above, and slowly where p is tiny.

    Args:
      topology: a periodic one; see ``expected_contraction`` for random ones.
      start: the first round.
      num_rounds: r; by default one period.

    Raises:
      ValueError: the topology is random and has no period, ``num_rounds`` is below 1,
        or columns of W do not sum to 1.

    Source: A. Koloskova, N. Loizou, S. Boreiri, M. Jaggi, S. U. Stich, *A Unified
    Theory of Decentralized SGD with Changing Topology and Local Updates*, ICML 2020,
    arXiv 2003.10422.

    >>> from tele_jax import graphs
    >>> round(contraction(graphs.ring(16)), 4)
    0.0989
    """
    num_rounds = topology.period if num_rounds is None else num_rounds
    if num_rounds is None:
        raise ValueError(
            f"contraction: {type(topology).__name__} is random and has no period; use "
            "expected_contraction, or say how many rounds with num_rounds=."
        )
    if num_rounds < 1:
        raise ValueError(
            f"contraction: got num_rounds={num_rounds}, expected at least 1."
        )
    if topology.num_slots <= _MAX_EXACT:
        product = np.eye(topology.num_slots)
        for t in range(start, start + num_rounds):
            (one,) = to_matrices(topology, 1, start=t)
            product = product @ exact_columns(one)
        return float(1 - np.linalg.norm(product - 1 / topology.num_slots, ord=2) ** 2)
    rounds = start + jnp.arange(num_rounds, dtype=jnp.int32)

    def step(x: Array, t: Array) -> tuple[Array, None]:
        return mix(exact_mixing(topology.at(t)), x), None

    def through_all(x: Array) -> Array:
        return jax.lax.scan(step, x, rounds)[0] - x.mean(axis=0, keepdims=True)

    ones = jnp.ones((topology.num_slots, 1))
    for t in rounds:
        check_sums(np.asarray(mix(topology.at(t), ones))[:, 0])
    return 1 - _largest(_gram(through_all), topology.num_slots, _ITERATIONS)[0]


class Estimate(NamedTuple):
    """An average over random rounds."""

    value: float
    standard_error: float


def expected_contraction(topology: Topology, num_samples: int = _SAMPLES) -> Estimate:
    """The expected contraction of a random round, p = 1 − ‖E (W − J)(W − J)ᵀ‖₂.

    E ‖X W − X̄‖² ≤ (1 − p) ‖X − X̄‖². Half of the sampled rounds find the direction
    that shrinks least, the other half tell how much it shrinks: judged by the same
    rounds, the largest of many noisy values would be too large.

    Args:
      topology: any; rounds 0 to ``num_samples`` − 1 are taken for independent.
      num_samples: rounds in all, at least 4.

    Raises:
      ValueError: ``num_samples`` is below 4.

    >>> from tele_jax import graphs
    >>> p, error = expected_contraction(graphs.randomized_gossip(9, jax.random.key(0)))
    >>> bool(abs(p - 1 / 8) < 5 * error)
    True
    """
    if num_samples < 4:
        raise ValueError(
            f"expected_contraction: got num_samples={num_samples}, expected at least 4."
        )
    size, half = topology.num_slots, num_samples // 2

    def shrink(x: Array, t: Array) -> Array:
        return mix(topology.at(t), x) - x.mean(axis=0, keepdims=True)

    if size <= _MAX_EXACT_SAMPLES:
        second = np.zeros((size, size))
        for start in range(0, half, _AT_ONCE):
            count = min(_AT_ONCE, half - start)
            for one in to_matrices(topology, count, start=start):
                centred = one - 1 / size
                second += centred @ centred.T / half
        worst = np.linalg.eigh(second)[1][:, -1]
    else:
        rounds = jnp.arange(min(half, _SEARCHED), dtype=jnp.int32)

        def each(x: Array) -> Array:
            return jax.vmap(shrink, in_axes=(None, 0))(x, rounds)

        worst = _largest(_gram(each), size, _ITERATIONS // 10)[1]
    column = jnp.asarray(worst[:, None], jnp.float32)
    later = jnp.arange(half, num_samples, dtype=jnp.int32)
    shrunk = jax.lax.map(
        lambda t: jnp.sum(shrink(column, t) ** 2), later, batch_size=100
    )
    values = np.asarray(shrunk, np.float64)
    error = values.std(ddof=1) / math.sqrt(len(values))
    return Estimate(float(1 - values.mean()), float(error))


def _gram(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """v ↦ AᵀA v for a linear function v ↦ A v of columns v."""

    def gram(x: Array) -> Array:
        (back,) = jax.linear_transpose(function, x)(function(x))
        return back

    return gram


def _largest(
    operator: Callable[[Array], Array], size: int, iterations: int
) -> tuple[float, np.ndarray]:
    """The largest eigenvalue of a positive operator, and its vector."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        columns = jnp.asarray(rng.normal(size=(size, _COLUMNS)))
        columns /= jnp.linalg.norm(columns, axis=0, keepdims=True)
        if float(jnp.abs(operator(columns)).max()) < _EXACT**2:
            return 0.0, np.asarray(columns[:, 0])
        values, vectors, _ = lobpcg_standard(operator, columns, m=iterations)
        return float(values[0]), np.asarray(vectors[:, 0])


def exact_after(topology: Topology) -> int | None:
    """The number of rounds after which all slots hold the exact average of the start.

    Found by gossiping random numbers from round 0 on, for at most one period. Exact
    means up to rounding of float32 weights, a relative error below 1e-6.

    Returns:
      The rounds, or None: not within a period, or the topology is random.

    >>> from tele_jax import graphs
    >>> exact_after(graphs.base_graph(25, 1)), exact_after(graphs.ring(25))
    (9, None)
    """
    if topology.period is None:
        return None
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        start = jnp.asarray(rng.normal(size=(topology.num_slots, 2)))
        goal = start.mean(axis=0, keepdims=True)

        def gossip(x: Array, t: Array) -> tuple[Array, Array]:
            x = mix(exact_mixing(topology.at(t)), x)
            return x, jnp.abs(x - goal).max()

        rounds = jnp.arange(topology.period, dtype=jnp.int32)
        _, errors = jax.lax.scan(gossip, start, rounds)
    exact = np.flatnonzero(np.asarray(errors) < _EXACT)
    return int(exact[0]) + 1 if len(exact) else None
