"""Tell arrays apart without keeping them."""

import hashlib
import re
from typing import Any

import jax
import numpy as np

from tele_jax import processes


def digest(data: Any) -> str:
    """A hash of all leaves of a pytree: their bytes, shapes, dtypes and places.

    >>> digest({"a": np.ones(3)}) == digest({"a": np.ones(3)})
    True
    >>> digest({"a": np.ones(3)}) == digest({"b": np.ones(3)})
    False
    """
    # Functions are told by their names, not by where this process has put them.
    structure = re.sub(r" at 0x[0-9a-f]+", "", str(jax.tree.structure(data)))
    found = hashlib.blake2b(structure.encode(), digest_size=16)
    for leaf in jax.tree.leaves(data):
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(
            leaf.dtype, jax.dtypes.prng_key
        ):
            leaf = jax.random.key_data(leaf)
        leaf = processes.fetch(leaf)
        found.update(f"{np.shape(leaf)} {np.asarray(leaf).dtype}".encode())
        found.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
    return found.hexdigest()
