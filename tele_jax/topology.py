"""Who mixes with whom: sparse, possibly time-varying mixing matrices.

A round of gossip is X ← X W with the models as columns of X, so column i of W holds
the weights with which slot i averages what it receives. Only the non-zero entries of
a column are kept, as a list of senders and a list of weights.
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct

from tele_jax._types import Array

_TOLERANCE = 1e-5
"""How far a column or row sum may be from 1: matrices given in float32 pass."""


class Mixing(NamedTuple):
    """One round's gossip: slot i averages ``senders[:, i]`` with ``weights[:, i]``.

    Columns shorter than m are padded with the slot itself at weight 0.
    """

    senders: Array
    """int32[m, k]"""
    weights: Array
    """float32[m, k]"""


@struct.dataclass
class Topology:
    """A periodic schedule of mixings over k slots.

    It holds no clock: ``at(t)`` gives round t. Make one with ``tele_jax.graphs`` or
    with ``from_matrices``. Its arrays are leaves, so weights can be swept.
    """

    senders: Array
    """int32[p, m, k]"""
    weights: Array
    """float32[p, m, k]"""

    @property
    def num_slots(self) -> int:
        """The number k of slots."""
        return self.senders.shape[-1]

    @property
    def period(self) -> int:
        """The number p of rounds after which the schedule repeats."""
        return self.senders.shape[-3]

    def at(self, t: Array | int) -> Mixing:
        """The mixing of round t.

        >>> from tele_jax import graphs
        >>> graphs.ring(4).at(0).senders.shape
        (3, 4)
        """
        round_in_period = jnp.mod(t, self.period)
        return Mixing(self.senders[round_in_period], self.weights[round_in_period])


def from_matrices(
    matrices: np.ndarray,
    *,
    stochastic: Literal["doubly", "column", "row"] = "doubly",
) -> Topology:
    """A topology from its mixing matrices, X ← X W⁽ᵗ ᵐᵒᵈ ᵖ⁾.

    Args:
      matrices: [p, k, k], or [k, k] for a topology that never changes. Entry (j, i) is
        the weight with which slot i takes the model of slot j.
      stochastic: which sums must be 1. ``"column"``: every slot averages what it
        receives. ``"row"``: every slot splits what it sends, as in push-sum.
        ``"doubly"``: both, and then gossip preserves the mean of the slots.

    Raises:
      ValueError: the shape is not square, an entry is negative or not finite, or a sum
        is not 1; it names the round and the column or row.

    >>> swap = from_matrices(np.array([[0.5, 0.5], [0.5, 0.5]]))
    >>> swap.at(0).weights.tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    matrices = np.asarray(matrices, np.float64)
    if matrices.ndim == 2:
        matrices = matrices[None]
    _check_entries(matrices)
    if stochastic not in ("doubly", "column", "row"):
        raise ValueError(
            f"from_matrices: got stochastic={stochastic!r}, expected one of "
            '"doubly", "column", "row".'
        )
    if stochastic in ("doubly", "column"):
        hint = "" if stochastic == "column" else '; pass stochastic="row" for push-sum'
        _check_sums(matrices.sum(axis=1), "column", hint)
    if stochastic in ("doubly", "row"):
        hint = (
            ""
            if stochastic == "row"
            else '; pass stochastic="column" if the mean need not be preserved'
        )
        _check_sums(matrices.sum(axis=2), "row", hint)
    return _from_columns(matrices)


def to_matrices(topology: Topology) -> np.ndarray:
    """The mixing matrices of one period, float64[p, k, k], with X ← X W.

    >>> from tele_jax import graphs
    >>> to_matrices(graphs.complete(2)).tolist()
    [[[0.5, 0.5], [0.5, 0.5]]]
    """
    senders = np.asarray(topology.senders)
    period, _, num_slots = senders.shape
    matrices = np.zeros((period, num_slots, num_slots))
    rounds = np.arange(period)[:, None, None]
    receivers = np.arange(num_slots)[None, None, :]
    weights = np.asarray(topology.weights, np.float64)
    np.add.at(matrices, (rounds, senders, receivers), weights)
    return matrices


def contraction(topology: Topology) -> float:
    """How much one period of gossip shrinks disagreement, p = 1 − ‖W⁽¹⁾⋯W⁽ᵖ⁾ − J‖₂².

    J = 𝟏𝟏ᵀ/k, and ‖X W − X̄‖² ≤ (1 − p) ‖X − X̄‖² over the period. p = 1 means that a
    period averages exactly, p = 0 that it need not bring the slots closer.

    Source: A. Koloskova, N. Loizou, S. Boreiri, M. Jaggi, S. U. Stich, *A Unified
    Theory of Decentralized SGD with Changing Topology and Local Updates*, ICML 2020,
    arXiv 2003.10422.

    >>> from tele_jax import graphs
    >>> round(contraction(graphs.ring(16)), 4)
    0.0989
    """
    product = np.eye(topology.num_slots)
    for matrix in to_matrices(topology):
        product = product @ matrix
    norm = np.linalg.norm(product - 1.0 / topology.num_slots, ord=2)
    return float(1.0 - norm**2)


def messages(mixing: Mixing) -> Array:
    """Which entries of a mixing are models that travel: bool[m, k].

    >>> from tele_jax import graphs
    >>> int(messages(graphs.ring(5).at(0)).sum())
    10
    """
    own = jnp.arange(mixing.senders.shape[1], dtype=jnp.int32)
    return (mixing.weights != 0) & (mixing.senders != own[None, :])


def _check_entries(matrices: np.ndarray) -> None:
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2]:
        raise ValueError(
            f"from_matrices: got an array of shape {matrices.shape}, expected [p, k, k]"
            " or [k, k]; give one square matrix per round."
        )
    if 0 in matrices.shape:
        raise ValueError(
            f"from_matrices: got an array of shape {matrices.shape}, expected at least"
            " 1 round and 1 slot."
        )
    wrong = np.argwhere(~np.isfinite(matrices) | (matrices < 0))
    if len(wrong):
        t, row, column = (int(i) for i in wrong[0])
        raise ValueError(
            f"from_matrices: round {t}, row {row}, column {column} is "
            f"{matrices[t, row, column]:.4g}, expected a finite weight >= 0."
        )


def _check_sums(sums: np.ndarray, kind: str, hint: str) -> None:
    wrong = np.argwhere(np.abs(sums - 1.0) > _TOLERANCE)
    if len(wrong):
        t, index = (int(i) for i in wrong[0])
        raise ValueError(
            f"from_matrices: round {t}, {kind} {index} sums to {sums[t, index]:.6g}, "
            f"expected 1{hint}."
        )


def _from_columns(matrices: np.ndarray) -> Topology:
    """Keep the non-zero entries of every column, padded to the longest column."""
    num_slots = matrices.shape[1]
    degree = int((matrices != 0).sum(axis=1).max())
    # A stable sort puts the non-zero senders of a column first, in increasing order.
    order = np.argsort(matrices == 0, axis=1, kind="stable")[:, :degree]
    weights = np.take_along_axis(matrices, order, axis=1)
    own = np.broadcast_to(np.arange(num_slots), order.shape)
    senders = np.where(weights == 0, own, order)
    return from_senders(senders, weights)


def from_senders(senders: np.ndarray, weights: np.ndarray) -> Topology:
    """Unchecked: for builders in this package that are right by construction."""
    return Topology(jnp.asarray(senders, jnp.int32), jnp.asarray(weights, jnp.float32))
