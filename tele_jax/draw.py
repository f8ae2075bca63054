"""Drawing the active nodes of a round, at a cost that does not grow with n."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from tele_jax._types import Array, Key


def draw_active(key: Key, num_nodes: int, num_active: int) -> Array:
    """An ordered tuple of k distinct nodes, uniform over all such tuples.

    This is the Fisher–Yates shuffle of 0..n−1 stopped after k swaps: for i < k swap
    place i with place j_i ~ U{i, …, n−1}, and take what lands in place i. Only the
    places that some swap touched differ from their own number, so the shuffle of n
    places is never written down: what lands in place i is found by following the
    swaps back. O(k log k) time and O(k) memory, and k = n is a uniform permutation.

    Args:
      key: the round's key for the network.
      num_nodes: n.
      num_active: k, 1 ≤ k ≤ n.

    Returns:
      int32[k], the a-th entry is the node that holds token a.

    Source: R. A. Fisher, F. Yates, *Statistical Tables*, 1938; in place by
    R. Durstenfeld, *Algorithm 235: Random Permutation*, CACM 1964.

    >>> nodes = draw_active(jax.random.key(0), 10**6, 3)
    >>> nodes.shape, len(set(nodes.tolist()))
    ((3,), 3)
    """
    places = jnp.arange(num_active, dtype=jnp.int32)
    swaps = jax.random.randint(key, (num_active,), places, num_nodes, jnp.int32)
    return resolve_swaps(swaps)


def draw_living(
    key: Key, num_nodes: int, num_active: int, alive: Callable[[Array], Array]
) -> Array:
    """``draw_active`` among the living: an ordered tuple of k distinct nodes.

    The shuffle goes on beyond its first k places, up to place 4k + 16, and the dead are
    passed over. If that is too short, when most nodes are down, all n are shuffled anew
    (a ``vmap`` always does so, which costs time that grows with n). All ordered tuples
    of living nodes are equally likely, and if the first k of the shuffle are alive,
    they are those of ``draw_active``.

    Args:
      key: the round's key for the network.
      num_nodes: n.
      num_active: k.
      alive: whether nodes, int32[e], are up.

    Returns:
      int32[k]; −1 at the end if fewer than k nodes are alive.

    >>> draw_living(jax.random.key(0), 9, 3, lambda nodes: nodes < 2).tolist()[2]
    -1
    """
    places = jnp.arange(min(num_nodes, 4 * num_active + 16), dtype=jnp.int32)
    first, more = places[:num_active], places[num_active:]
    swaps = [jax.random.randint(key, first.shape, first, num_nodes, jnp.int32)]
    if more.size:
        further = jax.random.fold_in(key, 1)
        arguments = (further, more.shape, more, num_nodes, jnp.int32)
        swaps.append(jax.random.randint(*arguments))
    nodes = resolve_swaps(jnp.concatenate(swaps))
    living = alive(nodes)
    chosen = jnp.argsort(~living, stable=True)[:num_active]
    drawn = jnp.where(living[chosen], nodes[chosen], -1)
    if places.size == num_nodes:
        return drawn

    def from_all() -> Array:
        order = jax.random.permutation(jax.random.fold_in(key, 2), num_nodes)
        order = order.astype(jnp.int32)
        living = alive(order)
        first = jnp.argsort(~living, stable=True)[:num_active]
        return jnp.where(living[first], order[first], -1)

    return jax.lax.cond(drawn[-1] < 0, from_all, lambda: drawn)


def resolve_swaps(swaps: Array) -> Array:
    """What the swaps (i, swaps[i]), i = 0..k−1 in turn, bring to the places 0..k−1.

    >>> resolve_swaps(jnp.array([2, 2, 2])).tolist()
    [2, 0, 1]
    """
    places = jnp.arange(swaps.shape[0], dtype=jnp.int32)
    origin = _chase(_last_swap_into(swaps, places))
    # Place swaps[i] holds what the latest earlier swap with the same place left
    # there, the item that had arrived at that swap's own place; else its own number.
    earlier = _previous_equal(swaps)
    return jnp.where(earlier < 0, swaps, origin[earlier])


def _last_swap_into(swaps: Array, places: Array) -> Array:
    """For every place l < k the last swap i < l with swaps[i] = l; itself if none."""
    other = jnp.where(swaps == places, swaps.shape[0], swaps)  # a swap with itself
    last = jnp.full_like(places, -1).at[other].max(places, mode="drop")
    return jnp.where(last < 0, places, last)


def _chase(parent: Array) -> Array:
    """The root of every entry, by doubling the length of the step each time."""
    for _ in range(max(1, (parent.shape[0] - 1).bit_length())):
        parent = parent[parent]
    return parent


def _previous_equal(values: Array) -> Array:
    """The largest i < j with values[i] = values[j], for every j; −1 if none."""
    order = jnp.argsort(values, stable=True)
    ordered = values[order]
    same = jnp.concatenate([jnp.array([False]), ordered[1:] == ordered[:-1]])
    before = jnp.where(same, jnp.roll(order, 1), -1)
    return jnp.zeros_like(order).at[order].set(before)
