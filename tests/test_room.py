"""A run that no device has room for."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import pytest
from flax import struct

import tele_jax as tele


@struct.dataclass
class Anybody:
    """A task of any number of nodes, without data."""

    num_nodes: int = struct.field(pytree_node=False)
    counts_draws: ClassVar[bool] = False

    def sample(self, key, node, count):
        return key

    def loss(self, params, batch):
        return jnp.sum(params**2)


def test_what_no_device_has_room_for_is_said():
    """4e15 bytes are more than a process can address, so it takes none of them."""
    algorithm = tele.DSGD(tele.graphs.complete(10**8), 0.1)
    words = (
        r"simulate: there is no room for this run, which needs about [\d,.]+ GB on its "
        r"devices .*, 4,000,000.0 GB of them .*; take fewer slots"
    )
    with pytest.raises(MemoryError, match=words) as refused:
        tele.simulate(
            algorithm,
            Anybody(10**8),
            jnp.ones(10**7),
            jax.random.key(0),
            num_rounds=1,
            observe=lambda slots, task: {},
        )
    assert "RESOURCE_EXHAUSTED" in str(refused.value.__cause__)
