"""Who mixes with whom in every round: schedules of mixing matrices.

A round of gossip is X ← X W with the models as columns of X, so column i of W holds
the weights with which slot i averages what it receives.
"""

from typing import Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tele_jax._routing import Routed
from tele_jax._types import Array
from tele_jax.mixing import AnyMixing, Mixing, matrix, unstack
from tele_jax.routes import Routes

_TOLERANCE = 1e-5
"""How far a column or row sum may be from 1: matrices given in float32 pass."""

Stochastic = Literal["doubly", "column", "row"]


class Topology(Protocol):
    """A schedule of mixings over k slots: a frozen pytree dataclass with these.

    It holds no clock, and its numbers (weights, a random key) are leaves.
    """

    @property
    def num_slots(self) -> int:
        """The number k of slots."""

    @property
    def period(self) -> int | None:
        """The number p of rounds after which it repeats; None if rounds are random."""

    def at(self, t: Array | int) -> AnyMixing:
        """The mixing of round t, always the same for the same t."""


@struct.dataclass
class Periodic:
    """A periodic schedule whose every sender and weight is written down.

    Make one with ``tele_jax.graphs`` or with ``from_matrices``.
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


def routes_of(topology: Topology, t: Array | int) -> Routes | None:
    """How models travel between devices in round t, for ``gossip.mix``.

    Args:
      topology: the topology of an algorithm, as its ``step`` sees it.
      t: the round.

    Returns:
      ``Routes``, where ``simulate`` planned some: under a ``slot_mesh`` whose devices
      divide the k slots of a topology with a period. Else None, and XLA brings all
      models to all devices.

    >>> from tele_jax import graphs
    >>> routes_of(graphs.ring(8), 0) is None  # no mesh
    True
    """
    if not isinstance(topology, Routed):
        return None
    return Routes(topology.each, topology.due[jnp.mod(t, len(topology.due))])


def from_matrices(
    matrices: np.ndarray,
    *,
    stochastic: Stochastic = "doubly",
    symmetric: bool = False,
) -> Periodic:
    """A topology from its mixing matrices, X ← X W⁽ᵗ ᵐᵒᵈ ᵖ⁾.

    Args:
      matrices: [p, k, k], or [k, k] for a topology that never changes. Entry (j, i) is
        the weight with which slot i takes the model of slot j.
      stochastic: which sums must be 1. ``"column"``: every slot averages what it
        receives. ``"row"``: every slot splits what it sends, as in push-sum.
        ``"doubly"``: both, and then gossip preserves the mean of the slots.
      symmetric: whether W = Wᵀ is promised, and so checked.

    Raises:
      ValueError: the shape is not square, an entry is negative or not finite, a sum
        is not 1, or a promised symmetry is not there; it names the round and the
        entry, column or row.

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
    if symmetric:
        _check_symmetry(matrices)
    return _from_columns(matrices)


def to_matrices(
    topology: Topology, num_rounds: int | None = None, *, start: int = 0
) -> np.ndarray:
    """The mixing matrices of some rounds, float64[num_rounds, k, k], X ← X W.

    Args:
      topology: any.
      num_rounds: how many; by default one period, which a random topology has not.
      start: the first round.

    Raises:
      ValueError: the topology is random and ``num_rounds`` was not given.

    >>> from tele_jax import graphs
    >>> to_matrices(graphs.complete(2)).tolist()
    [[[0.5, 0.5], [0.5, 0.5]]]
    """
    num_rounds = topology.period if num_rounds is None else num_rounds
    if num_rounds is None:
        raise ValueError(
            f"to_matrices: {type(topology).__name__} is random and has no period; say "
            "how many rounds with num_rounds=."
        )
    if isinstance(topology, Periodic):
        leaves = np.asarray(topology.senders), np.asarray(topology.weights)
        mixings: list[AnyMixing] = [
            Mixing(*(leaf[t % topology.period] for leaf in leaves))
            for t in range(start, start + num_rounds)
        ]
    else:
        rounds = start + jnp.arange(num_rounds, dtype=jnp.int32)
        mixings = unstack(jax.vmap(topology.at)(rounds))
    return np.stack([matrix(mixing) for mixing in mixings])


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


def _check_symmetry(matrices: np.ndarray) -> None:
    mirrored = matrices.transpose(0, 2, 1)
    wrong = np.argwhere(np.abs(matrices - mirrored) > _TOLERANCE)
    if len(wrong):
        t, row, column = (int(i) for i in wrong[0])
        raise ValueError(
            f"from_matrices: round {t} has {matrices[t, row, column]:.6g} in row "
            f"{row}, column {column} and {matrices[t, column, row]:.6g} in row "
            f"{column}, column {row}, expected the same; pass symmetric=False if W is "
            "directed."
        )


def _from_columns(matrices: np.ndarray) -> Periodic:
    """Keep the non-zero entries of every column, padded to the longest column."""
    num_slots = matrices.shape[1]
    degree = int((matrices != 0).sum(axis=1).max())
    # A stable sort puts the non-zero senders of a column first, in increasing order.
    order = np.argsort(matrices == 0, axis=1, kind="stable")[:, :degree]
    weights = np.take_along_axis(matrices, order, axis=1)
    own = np.broadcast_to(np.arange(num_slots), order.shape)
    senders = np.where(weights == 0, own, order)
    return from_senders(senders, weights)


def from_senders(senders: np.ndarray, weights: np.ndarray) -> Periodic:
    """Unchecked: for builders in this package that are right by construction."""
    return Periodic(jnp.asarray(senders, jnp.int32), jnp.asarray(weights, jnp.float32))
