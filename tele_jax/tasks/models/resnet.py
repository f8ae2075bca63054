"""Residual networks with group normalisation, for images of CIFAR-10's size."""

from flax import linen as nn

from tele_jax._once import once
from tele_jax._types import Array
from tele_jax.tasks.models.chain import chain
from tele_jax.tasks.models.layers import GroupNorm, conv, dense, feature_maps


class ResNet(nn.Module):
    """A residual network of basic blocks, by default ResNet-20.

    A convolution 3 x 3, then stages of ``blocks``, each x ← relu(x' + F(x)) with F =
    norm ∘ conv ∘ relu ∘ norm ∘ conv; the first block of a later stage halves the maps
    and doubles their number, and there x' is a normalised convolution 1 x 1 of x,
    otherwise x itself. Then the mean of every map and a dense layer. Convolutions have
    no biases; every norm is GroupNorm(8).

    ResNet-18 is ``blocks=(2, 2, 2, 2), width=64``, with a first convolution of 3 x 3
    as is usual for small images. Inputs ``[b, h, w]`` or ``[b, h, w, c]``, h, w >= 8.

    He, Zhang, Ren & Sun, CVPR 2016, arXiv:1512.03385; normalisation of Wu & He, ECCV
    2018, arXiv:1803.08494.

    >>> import jax, jax.numpy as jnp
    >>> params = jax.eval_shape(
    ...     ResNet().init, jax.random.key(0), jnp.ones((1, 32, 32, 3)))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    272474
    """

    blocks: tuple[int, ...] = (3, 3, 3)
    width: int = 16
    num_classes: int = 10
    remat: bool = False
    """Compute a block again for the gradient, and remember its input alone."""

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        if self.width < 8 or self.width % 8:
            raise ValueError(
                f"ResNet: got width={self.width}, expected a multiple of 8, the number "
                "of groups of its norms."
            )
        x = feature_maps("ResNet", inputs, smallest=8)
        x = conv(self.width, use_bias=False, name="conv")(x)
        x = nn.relu(GroupNorm(8, name="norm")(x))
        for stage, num_blocks in enumerate(self.blocks):
            for block in range(num_blocks):
                layer = _Block(
                    self.width * 2**stage,
                    stride=2 if stage and not block else 1,
                    name=f"stage{stage + 1}_block{block + 1}",
                )
                x = chain([layer], x, remat=self.remat)
        return dense(self.num_classes, name="dense")(x.mean((1, 2)))


class _Block(nn.Module):
    """A basic block of two convolutions on feature maps [b, H, W, C]."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        x = conv(self.features, 3, self.stride, use_bias=False, name="conv1")(maps)
        x = nn.relu(GroupNorm(8, name="norm1")(x))
        x = conv(self.features, use_bias=False, name="conv2")(x)
        x = GroupNorm(8, name="norm2")(x)
        if maps.shape != x.shape:
            maps = conv(self.features, 1, self.stride, use_bias=False, name="conv3")(
                maps
            )
            maps = GroupNorm(8, name="norm3")(maps)
        # Both the next convolution and the sum after it read this.
        return once(nn.relu(maps + x))
