"""Fixed graphs whose partners follow from a slot's number."""

import jax.numpy as jnp
import numpy as np
from flax import struct

from tele_jax._types import Array
from tele_jax.graphs import _build as build
from tele_jax.mixing import RankOne
from tele_jax.topology import Periodic, from_senders


def ring(num_slots: int) -> Periodic:
    """Every slot averages with its two neighbours on a circle, weight 1/3.

    ``ring(2)`` averages the pair and ``ring(1)`` is the identity. Contraction
    p = 1 − max_j ((1 + 2 cos(2πj/k))/3)² = Ω(k⁻²). Symmetric: the mean is preserved.

    >>> ring(5).at(0).senders[:, 0].tolist()
    [0, 1, 4]
    """
    num_slots = build.check_size("ring", num_slots)
    build.check_table("ring", num_slots, 3)
    return build.circulant(num_slots, [{0, 1, -1}])


@struct.dataclass
class Complete:
    """Every slot averages with all, x_i ← (1/k) Σ_j x_j; made by ``complete``."""

    num_slots: int = struct.field(pytree_node=False)

    @property
    def period(self) -> int:
        """Every round is the same."""
        return 1

    def at(self, t: Array | int) -> RankOne:
        """The mean of all, without a table."""
        del t
        ones = jnp.ones(self.num_slots, jnp.float32)
        return RankOne(own=0 * ones, send=ones, receive=ones / self.num_slots)


def complete(num_slots: int) -> Complete:
    """Every slot averages with all, weight 1/k: DSGD on it is all-reduce SGD.

    Evaluated as the mean: it holds no table, at any size. Contraction p = 1.
    Symmetric: the mean is preserved.

    >>> complete(100_000).num_slots
    100000
    """
    return Complete(build.check_size("complete", num_slots))


def exponential(num_slots: int) -> Periodic:
    """Slot i sends to i + 2ʲ mod k for every j < ⌈log₂ k⌉; directed, weights equal.

    Contraction p = Ω(1/log k). Doubly stochastic: the mean is preserved.

    Source: B. Ying, K. Yuan, Y. Chen, H. Hu, P. Pan, W. Yin, *Exponential Graph is
    Provably Efficient for Decentralized Deep Training*, NeurIPS 2021,
    arXiv 2110.13363.

    >>> exponential(16).at(0).senders[:, 8].tolist()
    [8, 0, 4, 6, 7]
    """
    num_slots = build.check_size("exponential", num_slots)
    build.check_table("exponential", num_slots, build.ceil_log2(num_slots) + 1)
    hops = {-(2**j) for j in range(build.ceil_log2(num_slots))}
    return build.circulant(num_slots, [{0} | hops])


def torus(num_rows: int, num_columns: int) -> Periodic:
    """Every slot averages with its four neighbours on a doughnut, weight 1/5.

    Where neighbours coincide (a side of 1 or 2) their weights add. Slot r·columns + c
    sits in row r, column c. Contraction p = Ω(1/k) on a square. Symmetric: the mean
    is preserved.

    >>> torus(4, 4).at(0).senders.shape
    (5, 16)
    """
    num_rows = build.check_size("torus", num_rows, "row")
    num_columns = build.check_size("torus", num_columns, "column")
    build.check_table("torus", num_rows * num_columns, 5)
    row, column = np.divmod(np.arange(num_rows * num_columns), num_columns)
    steps = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
    senders = np.array(
        [
            (row + down) % num_rows * num_columns + (column + right) % num_columns
            for down, right in steps
        ]
    )
    # The graph looks alike from every slot, so slot 0 shows which steps coincide.
    _, first, counts = np.unique(senders[:, 0], return_index=True, return_counts=True)
    weights = np.repeat(counts[:, None] / 5, senders.shape[1], axis=1)
    order = np.argsort(first)
    return from_senders(senders[None, first[order]], weights[None, order])


def hypercube(num_slots: int) -> Periodic:
    """Every slot averages with the log₂ k slots whose number differs in one bit.

    Weight 1/(d + 1) with d = log₂ k; contraction p = 4d/(d + 1)² for d ≥ 1.
    Symmetric: the mean is preserved.

    Raises:
      ValueError: k is not a power of two.

    >>> hypercube(8).at(0).senders[:, 5].tolist()
    [5, 4, 7, 1]
    """
    num_slots = build.check_size("hypercube", num_slots)
    dimension = build.check_power_of_two("hypercube", num_slots)
    build.check_table("hypercube", num_slots, dimension + 1)
    flips = np.array([0] + [1 << j for j in range(dimension)])
    return build.equal_weights((np.arange(num_slots) ^ flips[:, None])[None])
