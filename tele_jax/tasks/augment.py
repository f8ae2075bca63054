"""Augmentation of images inside the program: random crops and reflections."""

import jax
import jax.numpy as jnp
from flax import struct

from tele_jax._types import Array, Key


@struct.dataclass
class Augment:
    """Pad with zeros and crop at random, then reflect with probability 1/2.

    Every image has a crop and a reflection of its own, from the key of the batch. The
    authors' earlier study of DSGD has ``Augment()`` on Fashion-MNIST, and
    ``Augment(flip=True)`` on CIFAR-10.

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
        size, shape = len(images), images.shape[1:]
        if self.flip:
            flips = jax.random.bernoulli(flip_key, 0.5, (size, 1, 1, 1))
            images = jnp.where(flips, images[:, :, ::-1], images)
        around = (self.padding, self.padding)
        padded = jnp.pad(images, ((0, 0), around, around, (0, 0)))
        offsets = jax.random.randint(crop_key, (size, 2), 0, 2 * self.padding + 1)
        return jax.vmap(
            lambda image, offset: jax.lax.dynamic_slice(image, (*offset, 0), shape)
        )(padded, offsets)

    def check(self) -> None:
        """Refuse a padding that is none.

        Raises:
          ValueError: it is negative or no integer.
        """
        if not isinstance(self.padding, int) or self.padding < 0:
            raise ValueError(
                f"Augment: got padding={self.padding}, expected an integer >= 0."
            )
