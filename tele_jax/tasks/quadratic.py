"""Quadratic tasks, whose objective, gradient and optimum are known exactly."""

import math

import jax
import jax.numpy as jnp
from flax import struct

from tele_jax._types import Array, Key, Scalar
from tele_jax.tasks._rows import row_of


@struct.dataclass
class Quadratic:
    """f_i(x) = ½ ‖a_i x − b_i‖², with Gaussian noise on the gradient.

    ∇F_i(x; ξ) = a_i (a_i x − b_i) + ξ with ξ ~ N(0, σ²/d I), realised as the loss
    F_i(x; ξ) = f_i(x) + ⟨ξ, x⟩. Make one with ``least_squares``, ``equal_hessians`` or
    ``quadratic``.
    """

    rows: Array
    """float32[n, 1 + d]: a_i, then b_i. Together, so that a node drawn from a million
    costs one visit to memory far away."""
    means: Array
    """float32[2 + d]: of a_i², a_i b_i and ‖b_i‖² over the nodes. All that f, ∇f and x*
    need, so that evaluating costs the same for any n."""
    noise: Array
    """σ, so that E‖∇F_i − ∇f_i‖² = σ²; float32[]."""

    @property
    def num_nodes(self) -> int:
        """The number n of nodes."""
        return self.rows.shape[0]

    @property
    def dim(self) -> int:
        """The number d of parameters."""
        return self.rows.shape[1] - 1

    @property
    def scale(self) -> Array:
        """a_i, float32[n]."""
        return self.rows[:, 0]

    @property
    def target(self) -> Array:
        """b_i, float32[n, d]."""
        return self.rows[:, 1:]

    def sample(
        self, key: Key, node: Array, count: Array | None
    ) -> tuple[Array, Array, Array]:
        """The node's a_i and b_i, and this draw's ξ."""
        del count
        row = row_of(self.rows, node)
        deviation = self.noise / math.sqrt(self.dim)
        noise = deviation * jax.random.normal(key, (self.dim,))
        return row[0], row[1:], noise

    def loss(self, params: Array, batch: tuple[Array, Array, Array]) -> Array:
        """F_i(x; ξ) = ½ ‖a_i x − b_i‖² + ⟨ξ, x⟩."""
        if jnp.shape(params) != (self.dim,):
            raise ValueError(
                f"Quadratic: got params of shape {jnp.shape(params)}, expected "
                f"({self.dim},); start from jnp.ones({self.dim})."
            )
        scale, target, noise = batch
        return 0.5 * jnp.sum((scale * params - target) ** 2) + jnp.sum(noise * params)

    def objective(self, params: Array) -> Array:
        """f(x) = (1/n) Σ_i ½ ‖a_i x − b_i‖²."""
        square, optimum = self.means[0], self.optimum()
        # f* + ½ mean(a_i²) ‖x − x*‖², which cancels nothing near the optimum.
        least = self.means[-1] - square * jnp.sum(optimum**2)
        return 0.5 * (least + square * jnp.sum((params - optimum) ** 2))

    def gradient(self, params: Array) -> Array:
        """∇f(x) = (1/n) Σ_i a_i (a_i x − b_i)."""
        return self.means[0] * (params - self.optimum())

    def optimum(self) -> Array:
        """x* = Σ_i a_i b_i / Σ_i a_i², float32[d]."""
        return self.means[1:-1] / self.means[0]


def quadratic(scale: Array, target: Array, noise: Scalar = 0.0) -> Quadratic:
    """The quadratic task of given a_i and b_i.

    Args:
      scale: a_i, [n].
      target: b_i, [n, d].
      noise: σ, with gradient noise N(0, σ²/d I).

    Raises:
      ValueError: the shapes do not fit.

    >>> quadratic(jnp.ones(2), jnp.array([[0.0], [2.0]])).optimum().tolist()
    [1.0]
    """
    if jnp.ndim(target) != 2 or jnp.shape(scale) != jnp.shape(target)[:1]:
        raise ValueError(
            f"quadratic: got scale of shape {jnp.shape(scale)} and target of shape "
            f"{jnp.shape(target)}, expected [n] and [n, d]."
        )
    scale, target = (jnp.asarray(part, jnp.float32) for part in (scale, target))
    rows = jnp.concatenate([scale[:, None], target], axis=1)
    products = jnp.matmul(scale, rows, precision=jax.lax.Precision.HIGHEST)
    sums = jnp.append(products, jnp.sum(target**2))
    return Quadratic(rows, sums / len(scale), jnp.asarray(noise, jnp.float32))


def least_squares(
    key: Key,
    *,
    num_nodes: int,
    dim: int,
    heterogeneity: Scalar = 1.0,
    noise: Scalar = 0.0,
    scaled: bool = True,
) -> Quadratic:
    """Least squares whose Hessians and optima differ from node to node.

    f_i(x) = ½ ‖A_i x − b_i‖² with b_i ~ N(0, ζ²/i² I), i = 1 … n.

    Args:
      key: draws the b_i; node i's depends on the key and on i alone.
      num_nodes: n.
      dim: d.
      heterogeneity: ζ.
      noise: σ, with gradient noise N(0, σ²/d I).
      scaled: A_i = (i/n) I, our rescaling, under which L = max_i ‖A_i‖² = 1 whatever
        n; if False A_i = (i/√n) I as published, where L = n and step sizes must
        shrink as 1/n.

    Raises:
      ValueError: fewer than 1 node or dimension.

    Source: A. Koloskova, N. Loizou, S. Boreiri, M. Jaggi, S. U. Stich, *A Unified
    Theory of Decentralized SGD with Changing Topology and Local Updates*, ICML 2020,
    arXiv 2003.10422.

    >>> task = least_squares(jax.random.key(0), num_nodes=8, dim=4)
    >>> float(jnp.linalg.norm(task.gradient(task.optimum()))) < 1e-6
    True
    """
    _check_sizes("least_squares", num_nodes, dim)
    number = jnp.arange(1, num_nodes + 1, dtype=jnp.float32)
    scale = number / (num_nodes if scaled else math.sqrt(num_nodes))
    spread = jnp.asarray(heterogeneity) / number
    target = spread[:, None] * _normals(key, num_nodes, dim)
    return quadratic(scale, target, noise)


def equal_hessians(
    key: Key,
    *,
    num_nodes: int,
    dim: int,
    heterogeneity: Scalar = 1.0,
    noise: Scalar = 0.0,
) -> Quadratic:
    """f_i(x) = ½ ‖x − b_i‖² with (1/n) Σ_i ‖b_i − b̄‖² = ζ² exactly.

    A task for closed forms, not for comparisons: with equal Hessians the mean of the
    slots does not feel their disagreement, so no method degrades on it.

    Args:
      key: draws the b_i.
      num_nodes: n.
      dim: d.
      heterogeneity: ζ; a single node has none.
      noise: σ, with gradient noise N(0, σ²/d I).

    Raises:
      ValueError: fewer than 1 node or dimension.

    >>> task = equal_hessians(jax.random.key(0), num_nodes=8, dim=4)
    >>> bool(jnp.allclose(task.optimum(), task.target.mean(axis=0)))
    True
    """
    _check_sizes("equal_hessians", num_nodes, dim)
    target = _normals(key, num_nodes, dim)
    target -= target.mean(axis=0, keepdims=True)
    spread = jnp.sqrt(jnp.sum(target**2) / num_nodes)
    target *= jnp.where(spread > 0, heterogeneity / spread, 0.0)
    return quadratic(jnp.ones(num_nodes), target, noise)


def _normals(key: Key, num_nodes: int, dim: int) -> Array:
    """Standard normals float32[n, d], row i a function of the key and i alone."""

    def row(node: Array) -> Array:
        return jax.random.normal(jax.random.fold_in(key, node), (dim,))

    return jax.vmap(row)(jnp.arange(num_nodes))


def _check_sizes(name: str, num_nodes: int, dim: int) -> None:
    for what, size in (("node", num_nodes), ("dimension", dim)):
        if size < 1:
            raise ValueError(f"{name}: needs at least 1 {what}, got {size}.")
