"""Gossip of which some is lost, shared by the methods that live with failures."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tele_jax import rewiring, tree
from tele_jax._types import Array, Key, Params, Slots
from tele_jax.gossip import mix
from tele_jax.mixing import AnyMixing, Mixing, RankOne, Repeated
from tele_jax.network.failures import Failures
from tele_jax.routes import Routes


class Lossy(NamedTuple):
    """A round of gossip as far as it takes place."""

    kept: AnyMixing
    """What is sent."""
    returned: Array
    """float32[k]: the weight of what is missed, which a slot gives its own model."""
    patience: Array | None
    """float32[k]: seconds for which a slot waited for one that is late."""


def lose(
    mixing: AnyMixing, key: Key, failures: Failures, nodes: Array, active: Array
) -> Lossy:
    """A round of gossip without the dead, the late and the links that are cut.

    On undirected graphs both ends of a lost pair take its weight back (a link that is
    cut is cut both ways, unless ``one_way``), and the mean of the active is preserved.

    Args:
      mixing: the round.
      key: the round's.
      failures: what goes wrong.
      nodes: int32[k], where the slots are.
      active: bool[k], which take part.
    """
    if isinstance(mixing, Repeated):
        raise ValueError(
            "Failures: got several rounds of gossip per step, expected one; use the "
            "topology without repeat."
        )
    awaited = failures.in_time(key, nodes)
    takes_part = active & awaited
    if isinstance(mixing, RankOne):
        if failures.drop is not None:
            raise ValueError(
                "Failures: got drop for a complete topology, whose gossip is an "
                "all-reduce and not messages between pairs; use drop=None, or "
                "from_matrices(np.full((1, k, k), 1 / k))."
            )
        # An all-reduce waits for nobody, and begins when the timeout is over.
        late = jnp.any(active & ~awaited) & active
        kept = rewiring.restrict(mixing, takes_part)
        return Lossy(kept, jnp.zeros_like(mixing.own), _patience(failures, late))
    other = mixing[0]
    own = jnp.broadcast_to(jnp.arange(nodes.shape[0]), other.shape)
    sender, receiver = (other, own) if isinstance(mixing, Mixing) else (own, other)
    is_cut = failures.cut(key, nodes[sender], nodes[receiver])
    both = takes_part[sender] & takes_part[receiver]
    kept, returned = rewiring.cut(mixing, ~both | is_cut)
    in_vain = (
        active[sender]
        & ~awaited[sender]
        & takes_part[receiver]
        & (mixing.weights != 0)
        & ~is_cut
    )
    late = jnp.zeros(nodes.shape, bool).at[receiver].max(in_vain)
    return Lossy(kept, returned, _patience(failures, late))


def gossip(lossy: Lossy, slots: Slots, routes: Routes | None) -> Slots:
    """Every slot averages what arrives, and its own model in place of what does not.

    What is lost has weight 0, so the routes are those of the topology.
    """

    def add_own(mixed: Array, own: Array) -> Array:
        weights = lossy.returned.reshape(-1, *(1,) * (own.ndim - 1))
        return (mixed + weights * own).astype(own.dtype)

    return jax.tree.map(add_own, mix(lossy.kept, slots, routes), slots)


def where(mask: Array, slots: Slots, otherwise: Slots) -> Slots:
    """The slots of one tree or of another, by a mask [k]."""

    def choose(one: Array, other: Array) -> Array:
        return jnp.where(mask.reshape(-1, *(1,) * (one.ndim - 1)), one, other)

    return jax.tree.map(choose, slots, otherwise)


def mean(slots: Slots, active: Array) -> Params:
    """The mean model of the active; 0 if there are none."""
    share = active / jnp.maximum(active.sum(), 1)
    return jax.tree.map(
        lambda leaf: jnp.tensordot(
            share, leaf, axes=1, precision=jax.lax.Precision.HIGHEST
        ),
        slots,
    )


def norm(params: Params) -> Array:
    """‖x‖."""
    return jnp.sqrt(tree.squared_norm(params))


def mean_loss(losses: Array, active: Array) -> Array:
    """Of the active; 0 if there are none."""
    total = jnp.where(active, losses, 0.0).sum()
    some = total / jnp.maximum(active.sum(), 1)
    # The plain mean where it is the same: bit by bit that without failures.
    return jnp.where(active.all(), losses.mean(), some)


def _patience(failures: Failures, late: Array) -> Array | None:
    if failures.timeout is None:
        return None
    return jnp.where(late, jnp.asarray(failures.timeout, jnp.float32), 0.0)
