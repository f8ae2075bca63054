"""What an all-reduce takes, from the formulas of its two usual forms."""

from typing import Literal

import jax.numpy as jnp

from tele_jax._types import Array
from tele_jax.network.links import Links
from tele_jax.network.sending import cost

AllReduce = Literal["ring", "tree"]


def all_reduce_seconds(
    kind: AllReduce, nodes: Array, takes_part: Array, links: Links, num_bytes: Array
) -> Array:
    """Seconds from when the last node is ready to when all have the mean.

    With a nodes that take part, in the order of their slots: ``"ring"`` passes a-ths
    of the model around twice, 2 (a − 1) · max_l (latency_l + B / (a · bandwidth_l))
    over the links l of the ring; ``"tree"`` reduces along a binomial tree and
    broadcasts back, 2 Σ_levels max_l (latency_l + B / bandwidth_l).

    Args:
      kind: which form.
      nodes: int32[k], the node of every slot.
      takes_part: bool[k].
      links: the network.
      num_bytes: B, of one model.

    Source: R. Thakur, R. Rabenseifner, W. Gropp, *Optimization of Collective
    Communication Operations in MPICH*, IJHPCA 2005, with each step as slow as its
    slowest link.

    >>> from tele_jax.network import same
    >>> everybody = jnp.arange(4), jnp.ones(4, bool)
    >>> float(all_reduce_seconds("tree", *everybody, same(1.0, 8.0), 8))
    8.0
    >>> float(all_reduce_seconds("ring", *everybody, same(1.0, 8.0), 8))
    7.5
    """
    size = nodes.shape[0]
    order = jnp.argsort(~takes_part, stable=True)
    nodes, count = nodes[order], takes_part.sum()
    places = jnp.arange(size)

    def slowest(to: Array, used: Array, part: Array | float) -> Array:
        latency, transfer = cost(links, nodes, nodes[to], num_bytes)
        seconds = jnp.where(used, latency + transfer * part, 0.0)
        return seconds.max()

    if kind == "ring":
        among = places < count
        following = jnp.where(places + 1 < count, places + 1, 0)
        step = slowest(following, among & (count > 1), 1 / jnp.maximum(count, 1))
        return 2.0 * jnp.maximum(count - 1, 0) * step
    total = jnp.float32(0.0)
    for level in range(max(0, (size - 1).bit_length())):
        to = places + 2**level
        used = (places % 2 ** (level + 1) == 0) & (to < count)
        total += 2.0 * slowest(jnp.minimum(to, size - 1), used, 1.0)
    return total
