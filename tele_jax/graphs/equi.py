"""EquiTopo: contraction that does not depend on the number of slots.

Z. Song, W. Li, K. Jin, L. Shi, M. Yan, W. Yin, K. Yuan, *Communication-Efficient
Topologies for Decentralized Learning with O(1) Consensus Rate*, NeurIPS 2022,
arXiv 2210.07881. The basis graph of offset a sends from i to i + a mod k with weight
(k − 1)/k and keeps 1/k.
"""

import math
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tele_jax._types import Array, Key, Scalar
from tele_jax.graphs import _build as build
from tele_jax.graphs._rounds import check_key, hear, round_key
from tele_jax.mixing import Mixing
from tele_jax.topology import Periodic


def d_equistatic(
    num_slots: int, num_bases: int, seed: int, *, allow_disconnected: bool = False
) -> Periodic:
    """The mean of M basis graphs W_a of random offsets; directed.

    E ‖W − J‖₂ = O(√(log k / M)). Offsets are drawn from 1..k − 1 with replacement.
    Doubly stochastic: the mean is preserved.

    Args:
      num_slots: k.
      num_bases: M, at most so many senders per slot.
      seed: decides the offsets.
      allow_disconnected: accept a graph whose slots can never agree: all offsets have
        a factor in common with k.

    Raises:
      ValueError: a number is below 1, or the graph is not connected.

    Source: Z. Song et al., NeurIPS 2022, arXiv 2210.07881.

    >>> d_equistatic(16, 3, seed=0).at(0).senders.shape
    (4, 16)
    """
    settings = (num_slots, num_bases, seed, allow_disconnected)
    return _equistatic("d_equistatic", (-1,), *settings)


def u_equistatic(
    num_slots: int, num_bases: int, seed: int, *, allow_disconnected: bool = False
) -> Periodic:
    """The mean of M symmetrised basis graphs ½ (W_a + W_aᵀ) of random offsets.

    E ‖W − J‖₂ = O(√(log k / M)). Offsets are drawn from 1..k − 1 with replacement.
    Symmetric: the mean is preserved.

    Args:
      num_slots: k.
      num_bases: M, at most 2M partners per slot.
      seed: decides the offsets.
      allow_disconnected: accept a graph whose slots can never agree: all offsets have
        a factor in common with k.

    Raises:
      ValueError: a number is below 1, or the graph is not connected.

    Source: Z. Song et al., NeurIPS 2022, arXiv 2210.07881.

    >>> u_equistatic(16, 2, seed=0).at(0).senders.shape
    (5, 16)
    """
    settings = (num_slots, num_bases, seed, allow_disconnected)
    return _equistatic("u_equistatic", (-1, 1), *settings)


def _equistatic(
    name: str,
    signs: tuple[int, ...],
    num_slots: int,
    num_bases: int,
    seed: int,
    allow_disconnected: bool,
) -> Periodic:
    num_slots = build.check_size(name, num_slots)
    num_bases = build.check_size(name, num_bases, "basis graph")
    if num_slots == 1:
        return build.circulant(1, [{0}])
    rng = np.random.default_rng(build.check_seed(name, seed))
    drawn = Counter(rng.integers(1, num_slots, num_bases).tolist())
    parts = math.gcd(num_slots, *drawn)
    if parts > 1 and not allow_disconnected:
        raise ValueError(
            f"{name}: the offsets {', '.join(map(str, sorted(drawn)[:5]))} leave "
            f"{parts} groups of the {num_slots} slots that never hear each other; "
            "choose another seed or more bases, or pass allow_disconnected=True."
        )
    most = min(num_slots, len(signs) * len(drawn) + 1)
    build.check_table(name, num_slots, most)
    weights = {0: 1 / num_slots}
    for offset, times in drawn.items():
        for sign in signs:
            hop = sign * offset % num_slots
            share = (1 - 1 / num_slots) * times / num_bases / len(signs)
            weights[hop] = weights.get(hop, 0.0) + share
    return build.circulant(num_slots, [weights])


@struct.dataclass
class ODEquiDyn:
    """Every round (1 − η) I + η W_a of a random offset a; made by ``od_equidyn``."""

    num_slots: int = struct.field(pytree_node=False)
    key: Key
    eta: Scalar

    @property
    def period(self) -> None:
        """Rounds are random."""

    def at(self, t: Array | int) -> Mixing:
        """One sender for every slot."""
        size, key = self.num_slots, round_key("od_equidyn", self.key, t)
        own = jnp.arange(size, dtype=jnp.int32)
        offset = _offset(key, size)
        return hear((own - offset) % size, self.eta * (1 - 1 / size))


def od_equidyn(num_slots: int, key: Key, eta: Scalar = 0.5) -> ODEquiDyn:
    """OD-EquiDyn: every round all slots send to the slot at one random offset.

    W = (1 − η) I + η W_a with a uniform in 1..k − 1. One message per slot and round;
    directed, doubly stochastic, so the mean is preserved. E[W] = (1 − η) I + η J, and
    the expected contraction of a round is 1 − (1 − η)² − η² (1 − 2/k).

    Args:
      num_slots: k.
      key: decides the offsets of all rounds; a leaf.
      eta: η in (0, 1], a leaf. Half is our choice, close to the best.

    Source: Z. Song et al., NeurIPS 2022, arXiv 2210.07881.

    >>> od_equidyn(16, jax.random.key(0)).at(7).senders.shape
    (2, 16)
    """
    return ODEquiDyn(*_checked("od_equidyn", num_slots, key, eta))


@struct.dataclass
class OUEquiDyn:
    """Every round (1 − η) I + η W of random pairs i, i + a; made by ``ou_equidyn``."""

    num_slots: int = struct.field(pytree_node=False)
    key: Key
    eta: Scalar

    @property
    def period(self) -> None:
        """Rounds are random."""

    def at(self, t: Array | int) -> Mixing:
        """At most one partner for every slot."""
        size, key = self.num_slots, round_key("ou_equidyn", self.key, t)
        for_offset, for_start = jax.random.split(key)
        offset = _offset(for_offset, size)
        start = jax.random.randint(for_start, (), 0, size, jnp.int32)
        return hear(greedy_pairs(size, offset, start), self.eta * (1 - 1 / size))


def ou_equidyn(num_slots: int, key: Key, eta: Scalar = 0.5) -> OUEquiDyn:
    """OU-EquiDyn: every round pairs of slots at one random offset mix.

    From a random start on, every slot i that is still free is paired with i + a mod k
    if that is free; pairs have weight (k − 1)/k, the rest keep their model, and the
    matrix W̃ of it becomes W = (1 − η) I + η W̃. Symmetric: the mean is preserved.

    Args:
      num_slots: k.
      key: decides the offsets and starts of all rounds; a leaf.
      eta: η in (0, 1], a leaf. Half is our choice.

    Source: Z. Song et al., NeurIPS 2022, arXiv 2210.07881.

    >>> ou_equidyn(16, jax.random.key(0)).at(7).senders.shape
    (2, 16)
    """
    return OUEquiDyn(*_checked("ou_equidyn", num_slots, key, eta))


def _checked(name: str, num_slots: int, key: Key, eta: Scalar) -> tuple:
    if not isinstance(eta, jax.core.Tracer) and not np.all(
        (np.asarray(eta) > 0) & (np.asarray(eta) <= 1)
    ):
        raise ValueError(f"{name}: got eta={eta}, expected 0 < eta <= 1.")
    return build.check_size(name, num_slots), check_key(name, key), eta


def _offset(key: Key, num_slots: int) -> Array:
    """1..k − 1, or 0 for a single slot."""
    low, high = min(1, num_slots - 1), max(1, num_slots)
    return jax.random.randint(key, (), low, high, jnp.int32)


def greedy_pairs(num_slots: int, offset: Array, start: Array) -> Array:
    """The partner of every slot, or the slot itself, int32[k].

    What the greedy loop over i = start, start + 1, … (i with i + offset, both free)
    finds, without the loop. Count slots from the start. Below k − a (a the offset)
    blocks of a slots pair up, each even one with the next. If a > k/2, that leaves
    the slots from b = k − a to a; they are visited later with partners b below, so
    among them blocks of b pair up, each odd one with the next.

    >>> greedy_pairs(5, jnp.int32(2), jnp.int32(0)).tolist()
    [2, 3, 0, 1, 4]
    """
    a, b = offset, num_slots - offset
    own = jnp.arange(num_slots, dtype=jnp.int32)
    place = (own - start) % num_slots

    def ahead(hop: Array, first: int, end: Array | int) -> Array:
        """Whether a slot pairs with the one ``hop`` further on."""
        leads = place // jnp.maximum(hop, 1) % 2 == first
        return leads & (place + hop < end) & (hop > 0)

    forward = ahead(a, 0, num_slots)
    inner = (a > b) & ahead(b, 1, a)
    hop = jnp.where(forward, a, jnp.where(inner, b, 0))
    paired = jnp.where(hop > 0, (own + hop) % num_slots, own)
    # Those that lead tell their partners.
    answer = jnp.where(hop > 0, paired, num_slots)
    return paired.at[answer].set(own, mode="drop")
