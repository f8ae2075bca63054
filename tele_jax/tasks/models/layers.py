"""Layers of the models, with the parameters of flax's layers, and their numbers."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from tele_jax._once import gradient_transposed
from tele_jax._types import Array
from tele_jax.tasks.convolution import conv_general_dilated

_FEW = 12
"""Outputs of a dense layer up to which a CPU is faster with the gradient of the kernel
as its transpose. With batches of 1 to 128 and 64 to 3,072 inputs, steps of softmax
regression took 0.22 to 1.01 of the time with 2 or 10 outputs, 0.48 to 1.12 of it with
13, and up to 1.41 with 16."""


def feature_maps(who: str, images: Array, smallest: int) -> Array:
    """Images ``[b, h, w]`` or ``[b, h, w, c]`` as feature maps ``[b, h, w, c]``.

    Args:
      who: the model that wants them.
      images: what it got.
      smallest: the least height and width that it can take.

    Raises:
      ValueError: they are no images, or too small.

    >>> feature_maps("LeNet", jnp.ones((5, 28, 26)), 16).shape
    (5, 28, 26, 1)
    """
    if images.ndim not in (3, 4) or min(images.shape[1:3]) < smallest:
        raise ValueError(
            f"{who}: got inputs of shape {images.shape}, expected [b, h, w] or"
            f" [b, h, w, c] with h, w >= {smallest}; use an MLP for smaller images."
        )
    return images.reshape(*images.shape[:3], -1)


def conv(features: int, size: int = 3, stride: int = 1, **options: Any) -> nn.Conv:
    """``nn.Conv`` with a square kernel of odd size, as a matrix product.

    Padded so that stride 1 keeps the maps' size: by (size − 1) / 2 on every side
    whatever the stride, as in PyTorch.

    >>> import jax
    >>> conv(4, stride=2).init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))[
    ...     0].shape
    (1, 4, 4, 4)
    """
    return nn.Conv(
        features,
        (size, size),
        stride,
        padding=size // 2,
        conv_general_dilated=conv_general_dilated,
        **options,
    )


def dense(features: int, **options: Any) -> nn.Dense:
    """``nn.Dense``, whose gradient is fast on a CPU with few outputs, too.

    >>> import jax
    >>> dense(10).init_with_output(jax.random.key(0), jnp.ones((1, 8)))[0].shape
    (1, 10)
    """
    return nn.Dense(
        features, dot_general=_dot_of_few if features <= _FEW else None, **options
    )


def _dot_of_few(inputs: Array, kernel: Array, *args: Any, **options: Any) -> Array:
    return lax.dot_general(inputs, gradient_transposed(kernel), *args, **options)


class GroupNorm(nn.Module):
    """``nn.GroupNorm`` with epsilon 1e-5, as in PyTorch, for maps in any layout.

    y = γ (x − E[x]) / √(Var x + ε) + β, mean and variance of an example's group of
    channels. As in flax, shorter numbers than float32 are normalised in float32.

    Source: Wu & He, *Group Normalization*, ECCV 2018, arXiv 1803.08494.

    >>> import jax
    >>> maps = jnp.arange(16.0).reshape(1, 2, 2, 4)
    >>> found, _ = GroupNorm(2).init_with_output(jax.random.key(0), maps)
    >>> norm = nn.GroupNorm(2, epsilon=1e-5)
    >>> same, _ = norm.init_with_output(jax.random.key(0), maps)
    >>> bool(jnp.allclose(found, same, atol=1e-5))
    True
    """

    num_groups: int
    """Groups of channels; divides their number."""
    layout: str = "BHWC"
    """The axes of the maps: batch, height, width and channels, in their order."""

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        axis = self.layout.index("C")
        channels = maps.shape[axis]
        around = tuple(channels if a == axis else 1 for a in range(4))
        scale = self.param("scale", nn.initializers.ones, (channels,)).reshape(around)
        bias = self.param("bias", nn.initializers.zeros, (channels,)).reshape(around)
        dtype = jnp.result_type(maps, scale, bias)
        maps = maps.astype(jnp.promote_types(dtype, jnp.float32))
        mean, variance = self._moments(maps)
        slope = scale * lax.rsqrt(variance + 1e-5)
        return (maps * slope + (bias - mean * slope)).astype(dtype)

    def _moments(self, maps: Array) -> tuple[Array, Array]:
        """Mean and variance of an example's group, for each of its channels.

        Var x = E[(x − s)²] − E[x − s]² for every s, and both can be had in one pass,
        which E[(x − E[x])²] cannot. With s = 0 digits cancel where a map is nearly
        constant; with the mean of one of H rows E[x − s]² <= (H − 1) Var x, and they
        do not. The result does not depend on s, so neither does its gradient.
        """
        axis = self.layout.index("H")
        middle = maps.shape[axis] // 2
        row = lax.slice_in_dim(maps, middle, middle + 1, axis=axis)
        shift = lax.stop_gradient(self._mean(row))
        shifted = maps - shift
        offset = self._mean(shifted)
        variance = self._mean(jnp.square(shifted)) - jnp.square(offset)
        # Of a huge constant rounding may make it negative, and its root a NaN.
        return shift + offset, jnp.maximum(variance, 0)

    def _mean(self, maps: Array) -> Array:
        """The mean of an example's group, for each of its channels."""
        axis = self.layout.index("C")
        pixels = (self.layout.index("H"), self.layout.index("W"))
        means = maps.mean(pixels, keepdims=True)
        before, after = means.shape[:axis], means.shape[axis + 1 :]
        groups = means.reshape(*before, self.num_groups, -1, *after)
        mean = groups.mean(axis + 1, keepdims=True)
        return jnp.broadcast_to(mean, groups.shape).reshape(means.shape)
