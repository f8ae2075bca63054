"""VGG-11 with group normalisation, for images of CIFAR-10's size."""

from flax import linen as nn

from tele_jax._types import Array
from tele_jax.tasks.models.chain import Layer, chain
from tele_jax.tasks.models.layers import GroupNorm, conv, dense, feature_maps
from tele_jax.tasks.pooling import max_pool

_STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Maps of every convolution; a maximum over 2 x 2 ends a stage."""


class VGG11(nn.Module):
    """VGG-11: eight convolutions 3 x 3 with GroupNorm(8) and ReLU, one dense layer.

    64 M 128 M 256 256 M 512 512 M 512 512 M with M for max-pool 2, then the mean of
    every map (one number on 32 x 32 images) and a dense layer: 9,231,114 parameters on
    images of three colours. Inputs ``[b, h, w, c]`` with h, w >= 32.

    Simonyan & Zisserman, ICLR 2015, arXiv:1409.1556, with one dense layer in place of
    three; normalisation of Wu & He, ECCV 2018, arXiv:1803.08494.

    >>> import jax, jax.numpy as jnp
    >>> params = jax.eval_shape(
    ...     VGG11().init, jax.random.key(0), jnp.ones((1, 32, 32, 3)))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    9231114
    """

    num_classes: int = 10
    remat: bool = False
    """Compute a stage again for the gradient, and remember its input alone."""

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        x, number = feature_maps("VGG11", inputs, smallest=32), 0
        for stage in _STAGES:
            layers: list[Layer] = []
            for features in stage:
                number += 1
                layers += [conv(features, name=f"conv{number}")]
                layers += [GroupNorm(8, name=f"norm{number}"), nn.relu]
            x = chain([*layers, max_pool], x, remat=self.remat)
        return dense(self.num_classes, name="dense")(x.mean((1, 2)))
