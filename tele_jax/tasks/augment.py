"""Augmentation of images inside the program: random crops and reflections."""

import jax
import jax.numpy as jnp
from flax import struct

from tele_jax._types import Array, Key


@struct.dataclass
class Augment:
    """Pad with zeros and crop at random, then reflect with probability 1/2.

    Every image has a crop and a reflection of its own, from the key of the batch. The
    paper's recipe is ``Augment()`` on Fashion-MNIST and ``Augment(flip=True)`` on
    CIFAR-10.

    Args:
      padding: pixels around the image; crops have the image's size.
      flip: whether to reflect left and right.

    >>> images = jnp.ones((32, 28, 28, 1), jnp.uint8)
    >>> Augment(flip=True).apply(jax.random.key(0), images).shape
    (32, 28, 28, 1)
    """

    padding: int = struct.field(pytree_node=False, default=4)
    flip: bool = struct.field(pytree_node=False, default=False)

    def apply(self, key: Key, images: Array) -> Array:
        """Other images ``[b, h, w, c]`` of the same shape and type."""
        crop_key, flip_key = jax.random.split(key)
        size, height, width = images.shape[:3]
        offsets = jax.random.randint(crop_key, (size, 2), 0, 2 * self.padding + 1)
        flips = jax.random.bernoulli(flip_key, 0.5 * self.flip, (size,))
        # The pixel of the original that each pixel shows, rows and columns apart: one
        # gather of the image, where a padded copy and a slice would be two of it.
        rows = jnp.arange(height)[None] + offsets[:, :1] - self.padding
        columns = jnp.arange(width)[None]
        columns = jnp.where(flips[:, None], width - 1 - columns, columns)
        columns = columns + offsets[:, 1:] - self.padding
        return jax.vmap(_picked)(images, rows, columns)


def _picked(image: Array, rows: Array, columns: Array) -> Array:
    """image[rows, columns], 0 outside of it."""
    picked = image.at[rows[:, None], columns[None, :]]
    return picked.get(mode="fill", fill_value=0, wrap_negative_indices=False)
