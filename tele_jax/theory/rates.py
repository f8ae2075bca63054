"""How fast the methods converge, term by term."""

import math
from typing import NamedTuple

from tele_jax.analysis import contraction, expected_contraction
from tele_jax.theory.constants import Constants, check_constants
from tele_jax.theory.stationary import check_slots, variance_factor
from tele_jax.topology import Topology

_NOTHING = 1e-9
"""A contraction below is rounding: such slots need never agree."""


class Rate(NamedTuple):
    """An upper bound of (1/T) Σ_t E‖∇f(x̄ᵗ)‖², up to a constant factor."""

    statistical: float
    """Of averaging noise: the term that more gradients per round make smaller."""
    consensus: float
    """Of slots that disagree."""
    deterministic: float
    """Of a start far from the optimum."""

    @property
    def total(self) -> float:
        """The sum of the three."""
        return sum(self)


def dsgd(
    constants: Constants,
    *,
    num_nodes: int,
    num_rounds: int,
    p: float,
    period: int = 1,
) -> Rate:
    """The rate of Decentralized SGD.

    √(L r₀ σ²/(nT)) + (L² r₀² (1−p)(σ²/p + ζ²/p²)/T²)^{1/3} + L r₀/(pT). For a schedule
    of period τ > 1 with contraction p, τ/p stands for 1/p and for (1−p)/p.

    Args:
      constants: of the task and the start.
      num_nodes: n.
      num_rounds: T.
      p: contraction of a period, in [0, 1]; where it is 0 the rate is infinite.
      period: τ.

    Raises:
      ValueError: a number is out of its range.

    Source: A. Koloskova, N. Loizou, S. Boreiri, M. Jaggi, S. U. Stich, *A Unified
    Theory of Decentralized SGD with Changing Topology and Local Updates*, ICML 2020,
    arXiv 2003.10422.

    >>> problem = Constants(smoothness=1.0, gap=1.0, sigma2=1.0, zeta2=0.0)
    >>> dsgd(problem, num_nodes=100, num_rounds=10_000, p=1.0)
    Rate(statistical=0.001, consensus=0.0, deterministic=0.0001)
    """
    _check("dsgd", constants, num_nodes, num_nodes, num_rounds, p, period)
    excess, delay = _delays(p, period)
    spread = constants.sigma2 + (constants.zeta2 * delay if constants.zeta2 else 0.0)
    noise = constants.sigma2 / num_nodes
    return _rate(constants, noise, _times(excess, spread), delay, num_rounds)


def teleportation(
    constants: Constants,
    *,
    num_nodes: int,
    num_slots: int,
    num_rounds: int,
    p: float,
    period: int = 1,
) -> Rate:
    """The rate of TELEPORTATION with k active nodes.

    √(L r₀ (σ² + (1 − (k−1)/(n−1)) ζ²)/(kT)) + (L² r₀² (σ² + ζ²)(1−p)/(p T²))^{1/3}
    + L r₀/(pT). For a schedule of period τ > 1 with contraction p, τ/p stands for 1/p
    and for (1−p)/p.

    Drawing the active nodes turns their differences ζ² into noise without memory,
    which is why it enters with 1/p where DSGD has 1/p².

    Args:
      constants: of the task and the start.
      num_nodes: n.
      num_slots: k, 1 ≤ k ≤ n.
      num_rounds: T.
      p: contraction of a period of the topology of k slots, in [0, 1]; where it is 0
        the rate is infinite.
      period: τ.

    Raises:
      ValueError: a number is out of its range.

    Source: the method is that of Y. Takezawa, S. U. Stich, *Scalable Decentralized
    Learning with Teleportation*, ICLR 2025, arXiv 2501.15259. This form of the rate is
    derived here from the same assumptions, and the paper's may differ.

    >>> problem = Constants(smoothness=1.0, gap=1.0, sigma2=1.0, zeta2=0.0)
    >>> settings = {"num_nodes": 100, "num_rounds": 10_000, "p": 1.0}
    >>> teleportation(problem, num_slots=1, **settings)
    Rate(statistical=0.01, consensus=0.0, deterministic=0.0001)
    """
    name = "teleportation"
    _check(name, constants, num_nodes, num_slots, num_rounds, p, period)
    excess, delay = _delays(p, period)
    factor = variance_factor(num_nodes, num_slots)
    noise = (constants.sigma2 + factor * constants.zeta2) / num_slots
    spread = _times(excess, constants.sigma2 + constants.zeta2)
    return _rate(constants, noise, spread, delay, num_rounds)


def mixing_speed(topology: Topology) -> tuple[float, int]:
    """What the rates need to know of a topology: p and the period τ.

    p is the contraction of a period, or the expected one of a random round (τ = 1).

    >>> from tele_jax import graphs
    >>> mixing_speed(graphs.one_peer_exponential(8))
    (1.0, 3)
    """
    if topology.period is None:
        p, period = expected_contraction(topology).value, 1
    else:
        p, period = contraction(topology), topology.period
    p = min(1.0, p)
    return (p if p > _NOTHING else 0.0), period


def _rate(
    constants: Constants, noise: float, spread: float, delay: float, num_rounds: int
) -> Rate:
    """The three terms of both methods; noise is already divided by the slots."""
    scale = constants.smoothness * constants.gap
    if scale == 0:  # nothing to gain: and 0 · ∞ is not a number
        return Rate(0.0, 0.0, 0.0)
    return Rate(
        statistical=math.sqrt(scale * noise / num_rounds),
        consensus=(scale**2 * spread / num_rounds**2) ** (1 / 3),
        deterministic=scale * delay / num_rounds,
    )


def _times(excess: float, spread: float) -> float:
    """Their product; without a spread 0, even for slots that never agree."""
    return excess * spread if spread else 0.0


def _delays(p: float, period: int) -> tuple[float, float]:
    """(1−p)/p and 1/p; of a longer period τ, both are τ/p."""
    if p == 0:
        return math.inf, math.inf
    if period == 1:
        return (1 - p) / p, 1 / p
    return period / p, period / p


def _check(
    name: str,
    constants: Constants,
    num_nodes: int,
    num_slots: int,
    num_rounds: int,
    p: float,
    period: int,
) -> None:
    check_constants(name, constants)
    check_slots(name, num_nodes, num_slots)
    for what, number in (("num_rounds", num_rounds), ("period", period)):
        if not number >= 1:
            raise ValueError(f"{name}: got {what}={number}, expected at least 1.")
    if not 0 <= p <= 1:
        raise ValueError(
            f"{name}: got p={p}, expected 0 <= p <= 1, such as analysis.contraction "
            "gives."
        )
