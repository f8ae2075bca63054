"""What topologies of random rounds share."""

import jax
import jax.numpy as jnp

from tele_jax._types import Array, Key, Scalar
from tele_jax.mixing import Mixing


def round_key(key: Key, t: Array | int) -> Key:
    """The key of round t; the round before the first has one too."""
    return jax.random.fold_in(key, jnp.asarray(t, jnp.int32))


def hear(partners: Array, weight: Scalar) -> Mixing:
    """Slot i takes ``weight`` of ``partners[i]``, and all of itself where that is i.

    >>> hear(jnp.array([1, 0, 2]), 0.5).weights.tolist()
    [[0.5, 0.5, 1.0], [0.5, 0.5, 0.0]]
    """
    own = jnp.arange(partners.shape[0], dtype=jnp.int32)
    heard = jnp.where(partners == own, 0.0, jnp.asarray(weight, jnp.float32))
    return Mixing(
        jnp.stack([own, partners.astype(jnp.int32)]), jnp.stack([1 - heard, heard])
    )
