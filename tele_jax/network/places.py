"""Links whose cost depends on where the two nodes are: clusters, a plane, a table."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tele_jax._types import Array, Scalar
from tele_jax.network import _numbers as numbers
from tele_jax.network.links import Link


@struct.dataclass
class Clusters:
    """Costs within and between groups of nodes; made by ``clusters``."""

    starts: Array
    """int32[c]: the first node of every cluster."""
    latency: Array
    """float32[c, c]"""
    bandwidth: Array
    """float32[c, c]"""
    num_nodes: int = struct.field(pytree_node=False)

    def between(self, i: Array, j: Array) -> Link:
        """By the clusters of both."""
        a, b = (jnp.searchsorted(self.starts, v, side="right") - 1 for v in (i, j))
        return Link(self.latency[a, b], self.bandwidth[a, b])


def clusters(sizes: np.ndarray, latency: np.ndarray, bandwidth: np.ndarray) -> Clusters:
    """Data centres, regions: what a message costs depends on the clusters of both ends.

    Args:
      sizes: int[c]; the nodes of a cluster are numbered one after the other.
      latency: float[c, c], seconds from a row's cluster to a column's; the diagonal is
        within a cluster. A leaf.
      bandwidth: float[c, c], bytes per second; a leaf.

    Raises:
      ValueError: a shape is another, a size below 1, or a cost out of its range.

    >>> two = clusters([2, 3], [[0.0, 0.1], [0.1, 0.0]], np.full((2, 2), 1e9))
    >>> two.between(jnp.array([0, 0]), jnp.array([1, 4])).latency.tolist()
    [0.0, 0.10000000149011612]
    """
    given = np.asarray(sizes)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer) or not given.size:
        raise ValueError(f"clusters: got sizes {sizes}, expected one or more integers.")
    if given.min() < 1:
        raise ValueError(f"clusters: got a size of {given.min()}, expected at least 1.")
    if not any(isinstance(part, jax.core.Tracer) for part in (latency, bandwidth)):
        each = np.asarray(latency, np.float64), np.asarray(bandwidth, np.float64)
        _check_reachable("clusters", "cluster", *each)
    shape = (given.size, given.size)
    costs = numbers.check_costs(
        "clusters", latency, bandwidth, shape, f"{given.size} clusters"
    )
    starts = np.concatenate([[0], np.cumsum(given)[:-1]])
    return Clusters(jnp.asarray(starts, jnp.int32), *costs, int(given.sum()))


@struct.dataclass
class Plane:
    """Nodes with places; made by ``plane``."""

    positions: Array
    """float32[n, 2]"""
    latency: Scalar
    latency_per_unit: Scalar
    bandwidth: Scalar

    @property
    def num_nodes(self) -> int:
        """As many as places."""
        return self.positions.shape[0]

    def between(self, i: Array, j: Array) -> Link:
        """Latency grows with the distance."""
        distance = jnp.linalg.norm(self.positions[i] - self.positions[j], axis=-1)
        latency = self.latency + self.latency_per_unit * distance
        return Link(latency, jnp.broadcast_to(self.bandwidth, i.shape))


def plane(
    positions: np.ndarray,
    latency_per_unit: Scalar,
    latency: Scalar = 0.0,
    bandwidth: Scalar = np.inf,
) -> Plane:
    """Nodes in the plane: latency + latency_per_unit · distance.

    Args:
      positions: float[n, 2]; a leaf.
      latency_per_unit: seconds per unit of distance; a leaf. Light in a fibre takes
        about 5e-6 s/km.
      latency: seconds on top of it; a leaf.
      bandwidth: bytes per second; a leaf.

    Raises:
      ValueError: the shape is another, or a number is out of its range.

    >>> links = plane([[0, 0], [3, 4]], latency_per_unit=0.1)
    >>> round(float(links.between(jnp.int32(0), jnp.int32(1)).latency), 3)
    0.5
    """
    places = numbers.check("plane", "positions", positions, at_least=-np.inf)
    if np.ndim(places) != 2 or np.shape(places)[1] != 2:
        raise ValueError(
            f"plane: got positions of shape {np.shape(places)}, expected [n, 2]."
        )
    per_unit = numbers.check("plane", "latency_per_unit", latency_per_unit)
    first, bandwidth = numbers.check_costs("plane", latency, bandwidth)
    return Plane(jnp.asarray(places, jnp.float32), first, per_unit, bandwidth)


@struct.dataclass
class Matrices:
    """Every pair written down; made by ``matrices``."""

    latency: Array
    """float32[n, n]"""
    bandwidth: Array
    """float32[n, n]"""

    @property
    def num_nodes(self) -> int:
        """The number of rows."""
        return self.latency.shape[0]

    def between(self, i: Array, j: Array) -> Link:
        """Read off."""
        return Link(self.latency[i, j], self.bandwidth[i, j])


def matrices(latency: np.ndarray, bandwidth: np.ndarray) -> Matrices:
    """Measured costs between all nodes, for small n.

    Args:
      latency: float[n, n], seconds from a row's node to a column's; the diagonal is
        not used. A leaf.
      bandwidth: float[n, n], bytes per second; a leaf.

    Raises:
      ValueError: a shape is another, a cost is out of its range, or a node cannot reach
        another: its bandwidth is 0 or its latency infinite.

    >>> links = matrices([[0.0, 0.1], [0.2, 0.0]], np.full((2, 2), 1e6))
    >>> round(float(links.between(jnp.int32(1), jnp.int32(0)).latency), 3)
    0.2
    """
    size = np.shape(latency)[0] if np.ndim(latency) else 0
    if not any(isinstance(part, jax.core.Tracer) for part in (latency, bandwidth)):
        latency, bandwidth = _without_diagonal(latency, bandwidth)
        _check_reachable("matrices", "node", latency, bandwidth)
    shape = (size, size)
    return Matrices(
        *numbers.check_costs("matrices", latency, bandwidth, shape, f"{size} nodes")
    )


def _without_diagonal(*given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """With harmless numbers where a node would send to itself."""
    latency, bandwidth = (np.array(part, np.float64) for part in given)
    for part, harmless in ((latency, 0.0), (bandwidth, 1.0)):
        if part.ndim == 2:
            np.fill_diagonal(part, harmless)
    return latency, bandwidth


def _check_reachable(
    name: str, what: str, latency: np.ndarray, bandwidth: np.ndarray
) -> None:
    if latency.shape != bandwidth.shape:
        return  # check_costs says so
    cut = np.argwhere((latency == np.inf) | (bandwidth == 0))
    if len(cut):
        i, j = cut[0].tolist()
        raise ValueError(
            f"{name}: {what} {i} cannot reach {what} {j} (latency {latency[i, j]:g} s, "
            f"bandwidth {bandwidth[i, j]:g} B/s), nor can {len(cut) - 1} more pairs; "
            "give every pair a finite latency and some bandwidth, such as those of the "
            "way around."
        )
