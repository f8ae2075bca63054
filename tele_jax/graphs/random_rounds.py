"""Topologies drawn anew in every round, at the cost of the round alone."""

import jax
import jax.numpy as jnp
from flax import struct

from tele_jax._types import Array, Key
from tele_jax.draw import draw_active
from tele_jax.graphs import _build as build
from tele_jax.graphs._rounds import check_key, hear, round_key
from tele_jax.mixing import Mixing, Push


@struct.dataclass
class RandomMatching:
    """Every round random pairs average; made by ``random_matching``."""

    num_slots: int = struct.field(pytree_node=False)
    key: Key

    @property
    def period(self) -> None:
        """Rounds are random."""

    def at(self, t: Array | int) -> Mixing:
        """One partner for every slot, but for one slot if k is odd."""
        key = round_key("random_matching", self.key, t)
        order = jax.random.permutation(key, jnp.arange(self.num_slots, dtype=jnp.int32))
        even = self.num_slots - self.num_slots % 2
        first, second = order[:even:2], order[1:even:2]
        partners = jnp.arange(self.num_slots, dtype=jnp.int32)
        return hear(partners.at[first].set(second).at[second].set(first), 0.5)


def random_matching(num_slots: int, key: Key) -> RandomMatching:
    """Every round all slots meet in random pairs and average, weight 1/2.

    If k is odd, one random slot stays alone. The expected contraction of a round is
    ⌊k/2⌋/(k − 1). Symmetric: the mean is preserved.

    Args:
      num_slots: k.
      key: decides the pairs of all rounds; a leaf.

    >>> random_matching(6, jax.random.key(0)).at(3).weights.tolist()[1]
    [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """
    num_slots = build.check_size("random_matching", num_slots)
    return RandomMatching(num_slots, check_key("random_matching", key))


@struct.dataclass
class RandomizedGossip:
    """Every round one random pair averages; made by ``randomized_gossip``."""

    num_slots: int = struct.field(pytree_node=False)
    key: Key

    @property
    def period(self) -> None:
        """Rounds are random."""

    def at(self, t: Array | int) -> Mixing:
        """Two slots with a partner, unless there is but one slot."""
        partners = jnp.arange(self.num_slots, dtype=jnp.int32)
        if self.num_slots == 1:
            return hear(partners, 0.5)
        key = round_key("randomized_gossip", self.key, t)
        one, other = draw_active(key, self.num_slots, 2)
        return hear(partners.at[one].set(other).at[other].set(one), 0.5)


def randomized_gossip(num_slots: int, key: Key) -> RandomizedGossip:
    """Every round one random pair of slots averages, weight 1/2; two messages.

    All pairs are equally likely. The expected contraction of a round is 1/(k − 1).
    Symmetric: the mean is preserved.

    Args:
      num_slots: k.
      key: decides the pairs of all rounds; a leaf.

    Source: S. Boyd, A. Ghosh, B. Prabhakar, D. Shah, *Randomized Gossip Algorithms*,
    IEEE Transactions on Information Theory 2006.

    >>> float(randomized_gossip(9, jax.random.key(0)).at(3).weights[1].sum())
    1.0
    """
    num_slots = build.check_size("randomized_gossip", num_slots)
    return RandomizedGossip(num_slots, check_key("randomized_gossip", key))


@struct.dataclass
class ELOracle:
    """Every round a random regular digraph; made by ``el_oracle``."""

    num_slots: int = struct.field(pytree_node=False)
    degree: int = struct.field(pytree_node=False)
    key: Key

    @property
    def period(self) -> None:
        """Rounds are random."""

    def at(self, t: Array | int) -> Mixing:
        """``degree`` senders for every slot, which is one itself as often."""
        size = self.num_slots
        for_order, for_hops = jax.random.split(round_key("el_oracle", self.key, t))
        own = jnp.arange(size, dtype=jnp.int32)
        order = jax.random.permutation(for_order, own)
        hops = jnp.zeros(1, jnp.int32)
        if size > 1:
            drawn = draw_active(for_hops, size - 1, self.degree)
            hops = jnp.concatenate([hops, 1 + drawn])
        place = jnp.zeros_like(order).at[order].set(own)
        senders = order[(place[None] + hops[:, None]) % size]
        return Mixing(senders, jnp.full(senders.shape, 1 / len(hops), jnp.float32))


def el_oracle(num_slots: int, degree: int, key: Key) -> ELOracle:
    """Epidemic Learning with an oracle: a random regular digraph every round.

    Every slot averages itself with ``degree`` distinct random others, weight
    1/(degree + 1), and is heard by as many. Doubly stochastic: the mean is preserved.
    The expected contraction of a round is 1 − (1/(degree + 1) − 1/k) · k/(k − 1).

    Drawn as a circulant graph of random offsets on randomly ordered slots: every edge
    is equally likely, E[W] and E[W Wᵀ] are those of a uniform regular digraph, but not
    all such graphs can occur (our choice, for its cost of O(k · degree)).

    Args:
      num_slots: k.
      degree: senders per slot; more than k − 1 mean k − 1.
      key: decides the graphs of all rounds; a leaf.

    Source: M. de Vos, S. Farhadkhani, R. Guerraoui, A.-M. Kermarrec, R. Pires,
    R. Sharma, *Epidemic Learning: Boosting Decentralized Learning with Randomized
    Communication*, NeurIPS 2023, arXiv 2310.01972.

    >>> el_oracle(20, 3, jax.random.key(0)).at(5).senders.shape
    (4, 20)
    """
    num_slots = build.check_size("el_oracle", num_slots)
    degree = build.check_degree("el_oracle", degree, num_slots)
    return ELOracle(num_slots, degree, check_key("el_oracle", key))


@struct.dataclass
class ELLocal:
    """Every round each slot picks whom it sends to; made by ``el_local``."""

    num_slots: int = struct.field(pytree_node=False)
    degree: int = struct.field(pytree_node=False)
    key: Key

    @property
    def period(self) -> None:
        """Rounds are random."""

    def at(self, t: Array | int) -> Push:
        """``degree`` targets of every slot, and itself."""
        size = self.num_slots
        own = jnp.arange(size, dtype=jnp.int32)
        targets = own[None]
        if size > 1:
            keys = jax.random.split(round_key("el_local", self.key, t), size)
            drawn = jax.vmap(lambda key: draw_active(key, size - 1, self.degree))(keys)
            targets = jnp.concatenate([targets, (own[None] + 1 + drawn.T) % size])
        heard = jnp.zeros(size, jnp.int32).at[targets].add(1)
        return Push(targets, 1 / heard[targets].astype(jnp.float32))


def el_local(num_slots: int, degree: int, key: Key) -> ELLocal:
    """Epidemic Learning without coordination: each slot sends to ``degree`` others.

    Targets are distinct and uniform; how many models a slot hears is random, and it
    averages them with its own, weights equal. Columns sum to 1 but rows do not: the
    mean is preserved in expectation only.

    Args:
      num_slots: k.
      degree: targets per slot; more than k − 1 mean k − 1.
      key: decides the targets of all rounds; a leaf.

    Source: M. de Vos et al., NeurIPS 2023, arXiv 2310.01972.

    >>> el_local(20, 3, jax.random.key(0)).at(5).targets.shape
    (4, 20)
    """
    num_slots = build.check_size("el_local", num_slots)
    degree = build.check_degree("el_local", degree, num_slots)
    return ELLocal(num_slots, degree, check_key("el_local", key))
