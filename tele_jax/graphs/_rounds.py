"""What topologies of random rounds share."""

import zlib

import jax
import jax.numpy as jnp

from tele_jax._types import Array, Key, Scalar
from tele_jax.mixing import Mixing


def check_key(name: str, key: Key) -> Key:
    """Refuse what is no random key: a seed, say."""
    if not jnp.issubdtype(jnp.result_type(key), jax.dtypes.prng_key):
        raise ValueError(
            f"{name}: got {key!r} as key, expected a random key; make one with "
            "jax.random.key(seed)."
        )
    return key


def round_key(name: str, key: Key, t: Array | int) -> Key:
    """The key of round t; the round before the first has one too.

    The name keeps the rounds apart from all else that is drawn from the same key, such
    as the nodes and batches of ``simulate`` or another topology.
    """
    own = jax.random.fold_in(key, zlib.crc32(name.encode()))
    return jax.random.fold_in(own, jnp.asarray(t, jnp.int32))


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
