"""Models of dense layers only."""

from flax import linen as nn

from tele_jax._types import Array
from tele_jax.tasks.models.layers import dense


class MLP(nn.Module):
    """Dense layers with ReLU between them, on flattened inputs.

    x ← relu(x W_l + b_l) for every width of the tuple ``hidden``, logits = x W + b.

    >>> import jax, jax.numpy as jnp
    >>> MLP((32,)).init_with_output(jax.random.key(0), jnp.ones((5, 8, 8)))[0].shape
    (5, 10)
    """

    hidden: tuple[int, ...] = (64,)
    num_classes: int = 10

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        x = inputs.reshape(inputs.shape[0], -1)
        for features in self.hidden:
            x = nn.relu(dense(features)(x))
        return dense(self.num_classes)(x)


class Softmax(nn.Module):
    """Softmax regression, a convex model: logits = x W + b on flattened inputs.

    >>> import jax, jax.numpy as jnp
    >>> Softmax(3).init_with_output(jax.random.key(0), jnp.ones((5, 8, 8)))[0].shape
    (5, 3)
    """

    num_classes: int = 10

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        return dense(self.num_classes)(inputs.reshape(inputs.shape[0], -1))
