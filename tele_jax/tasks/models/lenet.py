"""LeNet, the image model of the TELEPORTATION paper."""

from flax import linen as nn

from tele_jax._types import Array
from tele_jax.tasks.banded import convolve
from tele_jax.tasks.models.layers import GroupNorm, dense, feature_maps
from tele_jax.tasks.pooling import max_pool


class LeNet(nn.Module):
    """LeNet with group normalisation, the image model of the TELEPORTATION paper.

    Convolution 5 x 5 to 6 maps, ReLU, max-pool 2, GroupNorm(2); convolution 5 x 5 to 16
    maps, ReLU, max-pool 2, GroupNorm(4); dense layers of 120, 84 and ``num_classes``:
    44,470 parameters on 28 x 28 images, 44,426 without the normalisation.

    Its parameters fit the same network made of ``nn.Conv``, ``nn.GroupNorm`` (epsilon
    1e-5, as in PyTorch) and ``nn.Dense``. Inputs ``[b, h, w]`` or ``[b, h, w, c]``.

    LeCun, Bottou, Bengio & Haffner, Proceedings of the IEEE, 1998; normalisation of
    Wu & He, ECCV 2018, arXiv:1803.08494.

    >>> import jax, jax.numpy as jnp
    >>> params = LeNet().init(jax.random.key(0), jnp.ones((1, 28, 28)))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    44470
    """

    num_classes: int = 10
    group_norm: bool = True

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        x = feature_maps("LeNet", inputs, smallest=16).transpose(2, 3, 1, 0)
        for layer, (features, groups) in enumerate(((6, 2), (16, 4)), start=1):
            x = _PooledConv(features, name=f"conv{layer}")(x)
            if self.group_norm:
                x = GroupNorm(groups, "WCHB", name=f"norm{layer}")(x)
        x = x.transpose(3, 2, 0, 1).reshape(inputs.shape[0], -1)
        x = nn.relu(dense(120, name="dense1")(x))
        x = nn.relu(dense(84, name="dense2")(x))
        return dense(self.num_classes, name="dense3")(x)


class _PooledConv(nn.Module):
    """max_pool(relu(convolution 5 x 5)) of batch-innermost maps [W, C, H, B]."""

    features: int

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        shape = (5, 5, maps.shape[1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        # Adding the bias and ReLU are monotone: done after the maximum they give the
        # same numbers on a quarter of the work.
        maps = max_pool(convolve(maps, kernel), rows=2, columns=0)
        return nn.relu(maps + bias.reshape(1, -1, 1, 1))
