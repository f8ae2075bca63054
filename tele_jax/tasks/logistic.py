"""Logistic regression on generated data: convex, with an exact objective."""

import math

import jax
import jax.numpy as jnp
from flax import struct

from tele_jax._types import Array, Key, Scalar


@struct.dataclass
class LogisticRegression:
    """f_i(x) = (1/s) Σ_l log(1 + exp(−y_il ⟨a_il, x⟩)) + λ/2 ‖x‖².

    F_i(x; ξ) is the same over a batch of the node's examples, drawn with replacement.
    Make one with ``logistic_regression``.
    """

    features: Array
    """float32[n, s, d]: a_il."""
    labels: Array
    """float32[n, s]: y_il, −1 or 1."""
    l2: Scalar
    """λ."""
    batch_size: int = struct.field(pytree_node=False)

    @property
    def num_nodes(self) -> int:
        """The number n of nodes."""
        return self.labels.shape[0]

    def sample(self, key: Key, node: Array, count: Array | None) -> tuple[Array, Array]:
        """``batch_size`` of the node's examples, uniform and with replacement."""
        del count
        picks = jax.random.randint(key, (self.batch_size,), 0, self.labels.shape[1])
        return self.features[node, picks], self.labels[node, picks]

    def loss(self, params: Array, batch: tuple[Array, Array]) -> Array:
        """F_i(x; ξ) = mean over ξ of log(1 + exp(−y ⟨a, x⟩)), plus λ/2 ‖x‖²."""
        features, labels = batch
        if jnp.shape(params) != features.shape[-1:]:
            raise ValueError(
                f"LogisticRegression: got params of shape {jnp.shape(params)}, "
                f"expected {features.shape[-1:]}; start from jnp.zeros(dim)."
            )
        # HIGHEST: accelerators would round the products to a few digits.
        products = jnp.matmul(features, params, precision=jax.lax.Precision.HIGHEST)
        penalty = 0.5 * self.l2 * jnp.sum(params**2)
        return jnp.mean(jax.nn.softplus(-labels * products)) + penalty

    def objective(self, params: Array) -> Array:
        """f(x) = (1/n) Σ_i f_i(x)."""
        # All nodes own s examples: the mean of the means is the mean.
        return self.loss(params, (self.features, self.labels))

    def gradient(self, params: Array) -> Array:
        """∇f(x)."""
        return jax.grad(self.objective)(params)


def logistic_regression(
    key: Key,
    *,
    num_nodes: int,
    dim: int,
    samples_per_node: int,
    heterogeneity: Scalar,
    l2: Scalar,
    batch_size: int,
) -> LogisticRegression:
    """Labels from a logistic model whose parameter differs from node to node.

    x_i = x* + ζ z_i with x*, z_i ~ N(0, I); a_il ~ N(0, I/d), so that ‖a_il‖ ≈ 1 and ζ
    means the same in every dimension; y_il = 1 with probability
    1/(1 + exp(−⟨a_il, x_i⟩)), else −1. f is L-smooth with L ≤ mean ‖a_il‖²/4 + λ.

    Args:
      key: draws the data; node i's depend on the key and on i alone.
      num_nodes: n.
      dim: d.
      samples_per_node: s.
      heterogeneity: ζ.
      l2: λ ≥ 0; f is λ-strongly convex.
      batch_size: b, how many examples a node draws in a round.

    Raises:
      ValueError: fewer than 1 node, dimension, sample or draw.

    >>> task = logistic_regression(
    ...     jax.random.key(0), num_nodes=4, dim=8, samples_per_node=16,
    ...     heterogeneity=1.0, l2=0.1, batch_size=2)
    >>> round(float(task.objective(jnp.zeros(8))), 4)  # log 2
    0.6931
    """
    for what, size in (
        ("node", num_nodes),
        ("dimension", dim),
        ("sample per node", samples_per_node),
        ("draw per batch", batch_size),
    ):
        if size < 1:
            raise ValueError(
                f"logistic_regression: needs at least 1 {what}, got {size}."
            )
    common_key, nodes_key = jax.random.split(key)
    common = jax.random.normal(common_key, (dim,))

    def data(node: Array) -> tuple[Array, Array]:
        shift_key, features_key, labels_key = jax.random.split(
            jax.random.fold_in(nodes_key, node), 3
        )
        parameter = common + heterogeneity * jax.random.normal(shift_key, (dim,))
        shape = (samples_per_node, dim)
        features = jax.random.normal(features_key, shape) / math.sqrt(dim)
        positive = jax.random.bernoulli(
            labels_key, jax.nn.sigmoid(features @ parameter)
        )
        return features, jnp.where(positive, 1.0, -1.0)

    features, labels = jax.vmap(data)(jnp.arange(num_nodes))
    return LogisticRegression(
        features, labels, jnp.asarray(l2, jnp.float32), batch_size
    )
