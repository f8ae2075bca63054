"""Where constant step sizes come to rest, on quadratics of curvature 1.

f_i(x) = ½ ‖x − b_i‖² with (1/n) Σ ‖b_i − b̄‖² = ζ² and gradient noise of variance σ²:
``tasks.equal_hessians``.
"""

import math

import numpy as np

from tele_jax.analysis._exact import exact_columns
from tele_jax.topology import Topology, to_matrices

_ROUNDING = 1e-12
"""Of eigenvalues in float64."""


def variance_factor(num_nodes: int, num_slots: int) -> float:
    """ρ = 1 − (k−1)/(n−1) = (n−k)/(n−1): what drawing without replacement saves.

    The mean over k distinct nodes of something with variance ζ² over all n has the
    variance ρ ζ²/k.

    Raises:
      ValueError: k is not in 1..n.

    >>> variance_factor(5, 1), variance_factor(5, 3), variance_factor(5, 5)
    (1.0, 0.5, 0.0)
    """
    check_slots("variance_factor", num_nodes, num_slots)
    return (num_nodes - num_slots) / max(1, num_nodes - 1)


def stationary_error(
    learning_rate: float,
    sigma2: float,
    zeta2: float,
    *,
    num_nodes: int,
    num_slots: int,
) -> float:
    """E‖x̄ − x*‖² of TELEPORTATION after very many rounds: η (σ² + ρ ζ²)/(k (2 − η)).

    Exact, on every topology that preserves the mean: with equal Hessians the mean of
    the slots does not feel that they disagree.

    Args:
      learning_rate: η, 0 ≤ η < 2.
      sigma2: σ².
      zeta2: ζ².
      num_nodes: n.
      num_slots: k; with k = n it is the error of DSGD, too.

    Raises:
      ValueError: the step size makes the iteration unstable, a variance is negative,
        or k is not in 1..n.

    >>> round(stationary_error(0.01, 1.0, 4.0, num_nodes=64, num_slots=4), 5)
    0.00604
    """
    if not 0 <= learning_rate < 2:
        raise ValueError(
            f"stationary_error: got learning_rate={learning_rate}, expected "
            "0 <= learning_rate < 2."
        )
    for what, number in (("sigma2", sigma2), ("zeta2", zeta2)):
        _check_variance("stationary_error", what, number)
    noise = sigma2 + variance_factor(num_nodes, num_slots) * zeta2
    return learning_rate * noise / (num_slots * (2 - learning_rate))


def stationary_disagreement(
    topology: Topology, learning_rate: float, variance: float
) -> float:
    """(1/k) E Σ_a ‖x_a − x̄‖² after very many rounds, and after gossip.

    η² s (1/k) Σ_{i≥2} λ_i²/(1 − λ_i²), with the eigenvalues λ_i of W: exact for small
    η, and never above the η² s (1 − p)/p of the rates. On a ring it grows like k, and
    that bound like k².

    Args:
      topology: of period 1, with a symmetric W.
      learning_rate: η.
      variance: s, how much the gradients of two slots differ, half their squared
        distance: σ² + ζ² n/(n−1) for TELEPORTATION.

    Returns:
      The disagreement, infinite where slots never agree.

    Raises:
      ValueError: W changes from round to round, or is not symmetric, or the variance is
        negative.

    >>> from tele_jax import graphs
    >>> round(stationary_disagreement(graphs.ring(4), 0.1, 1.0), 7)  # 1, ⅓, ⅓, −⅓
    0.0009375
    """
    if topology.period != 1:
        raise ValueError(
            f"stationary_disagreement: got a period of {topology.period}, expected 1: "
            "the formula holds where W is the same in all rounds."
        )
    _check_variance("stationary_disagreement", "variance", variance)
    matrix = exact_columns(to_matrices(topology, 1)[0])
    if not np.allclose(matrix, matrix.T, atol=1e-6):  # float32 weights
        raise ValueError(
            "stationary_disagreement: W is not symmetric; the formula needs its "
            "eigenvalues to be those of a symmetric matrix."
        )
    squares = np.linalg.eigvalsh((matrix + matrix.T) / 2)[:-1] ** 2
    if (squares > 1 - _ROUNDING).any():  # slots that never agree
        return math.inf
    total = np.sum(squares / (1 - squares))
    return float(learning_rate**2 * variance * total / topology.num_slots)


def _check_variance(name: str, what: str, number: float) -> None:
    if not number >= 0:
        raise ValueError(
            f"{name}: got {what}={number}, expected a number that is not negative."
        )


def check_slots(name: str, num_nodes: int, num_slots: int) -> None:
    """Refuse k outside 1..n."""
    if num_nodes < 1:
        raise ValueError(f"{name}: got num_nodes={num_nodes}, expected at least 1.")
    if not 1 <= num_slots <= num_nodes:
        raise ValueError(
            f"{name}: got k={num_slots} active nodes, expected 1 <= k <= n = "
            f"{num_nodes}."
        )
