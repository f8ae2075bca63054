"""Layers on batch-innermost feature maps ``[W, C, H, B]``.

Each has the parameters of flax's layer of the same name, and gives its numbers.
"""

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from tele_jax._types import Array
from tele_jax.tasks.convolution import convolve

Pair = tuple[int, int]


def innermost(who: str, images: Array, smallest: int) -> Array:
    """Images ``[b, h, w]`` or ``[b, h, w, c]`` as feature maps ``[w, c, h, b]``.

    Args:
      who: the model that wants them.
      images: what it got.
      smallest: the least height and width that it can take.

    Raises:
      ValueError: they are no images, or too small.

    >>> innermost("LeNet", jnp.ones((5, 28, 26)), 16).shape
    (26, 1, 28, 5)
    """
    if images.ndim not in (3, 4) or min(images.shape[1:3]) < smallest:
        raise ValueError(
            f"{who}: got inputs of shape {images.shape}, expected [b, h, w] or"
            f" [b, h, w, c] with h, w >= {smallest}; use an MLP for smaller images."
        )
    return images.reshape(*images.shape[:3], -1).transpose(2, 3, 1, 0)


class Conv(nn.Module):
    """``nn.Conv``: a square kernel, the maps padded so that stride 1 keeps their size.

    The padding is (size − 1) / 2 on every side whatever the stride, as in PyTorch.
    """

    features: int
    size: int = 3
    stride: int = 1
    use_bias: bool = True

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        shape = (self.size, self.size, maps.shape[1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        around = (self.size // 2, self.size // 2)
        strides = (self.stride, self.stride)
        maps = convolve(maps, kernel, strides, (around, around))
        if not self.use_bias:
            return maps
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return maps + bias.reshape(1, -1, 1, 1)


class GroupNorm(nn.Module):
    """``nn.GroupNorm`` with epsilon 1e-5, as in PyTorch."""

    num_groups: int

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        width, channels, height, batch = maps.shape
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        scale, bias = (v.reshape(1, self.num_groups, -1, 1, 1) for v in (scale, bias))
        x = maps.reshape(width, self.num_groups, -1, height, batch)
        # E[x²] − E[x]² would save a pass, but cancel where a map is nearly constant.
        mean = x.mean((0, 2, 3), keepdims=True)
        variance = jnp.square(x - mean).mean((0, 2, 3), keepdims=True)
        slope = scale * lax.rsqrt(variance + 1e-5)
        return (x * slope + (bias - mean * slope)).reshape(maps.shape)


def average(maps: Array) -> Array:
    """The mean of every map: ``[B, C]``.

    >>> average(jnp.ones((4, 3, 4, 2))).shape
    (2, 3)
    """
    return maps.mean((0, 2)).T
