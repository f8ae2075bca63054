"""Topologies side by side, and one after the other."""

import math

import jax
import jax.numpy as jnp
from flax import struct

from tele_jax import rewiring
from tele_jax._types import Array
from tele_jax.graphs import _build as build
from tele_jax.mixing import AnyMixing, Push, RankOne, Repeated
from tele_jax.topology import Topology


@struct.dataclass
class DisjointUnion:
    """Topologies side by side; made by ``disjoint_union``."""

    blocks: tuple[Topology, ...]

    @property
    def num_slots(self) -> int:
        """Of all blocks together."""
        return sum(block.num_slots for block in self.blocks)

    @property
    def period(self) -> int | None:
        """The least common multiple; no rounds are written down for it."""
        periods = [block.period for block in self.blocks]
        known = [period for period in periods if period is not None]
        return math.lcm(*known) if len(known) == len(periods) else None

    def at(self, t: Array | int) -> AnyMixing:
        """Round t of every block."""
        return rewiring.beside(*(block.at(t) for block in self.blocks))


def disjoint_union(*blocks: Topology) -> DisjointUnion:
    """Topologies side by side, which never hear each other.

    The slots of the first block come first, then those of the second, and so on. Each
    block keeps its own period. The mean of a block is preserved if the block preserves
    it; all slots never agree. Random blocks of one family and key draw the same rounds.

    Args:
      blocks: at least one. In all of them the receivers choose, or in all of them the
        senders (``el_local``), with equally many rounds of gossip per step.

    Raises:
      ValueError: there is none, or their forms of gossip differ.

    >>> from tele_jax import graphs
    >>> both = disjoint_union(graphs.ring(3), graphs.one_peer_exponential(8))
    >>> both.num_slots, both.at(0).senders[0, 3:].tolist()
    (11, [3, 4, 5, 6, 7, 8, 9, 10])
    """
    if not blocks:
        raise ValueError("disjoint_union: got no topology, expected at least one.")
    for block in blocks:
        if not hasattr(block, "at"):
            raise ValueError(
                f"disjoint_union: got a {type(block).__name__}, expected topologies; "
                "pass them one by one, disjoint_union(*topologies)."
            )
    forms = [_form(block) for block in blocks]
    if len(set(forms)) > 1:
        names = [type(block).__name__ for block in blocks]
        pairs = zip(names, forms, strict=True)
        said = "; ".join(f"{name}: {form}" for name, form in pairs)
        raise ValueError(
            f"disjoint_union: got blocks that gossip in different forms ({said}), "
            "expected one form; build all blocks from one family, and repeat the union "
            "rather than its blocks."
        )
    if len(blocks) > 1:
        num_slots = sum(block.num_slots for block in blocks)
        longest = max(_num_rows(round_form(block)) for block in blocks)
        build.check_table("disjoint_union", num_slots, longest)
    return DisjointUnion(blocks)


def _num_rows(mixing: AnyMixing) -> int:
    """m of the table that a union would write down."""
    while isinstance(mixing, Repeated):
        mixing = mixing.rounds
    shape = jax.tree.leaves(mixing)[0].shape
    return shape[-1] if isinstance(mixing, RankOne) else shape[-2]


def round_form(topology: Topology) -> AnyMixing:
    """The form of a round: arrays without values."""
    return jax.eval_shape(topology.at, jnp.int32(0))


def _form(topology: Topology) -> str:
    """How a round is written down, in words."""
    mixing, times = round_form(topology), ""
    while isinstance(mixing, Repeated):
        depth = times.count(",")
        times += (
            f", {jax.tree.leaves(mixing)[0].shape[depth]} rounds of gossip per step"
        )
        mixing = mixing.rounds
    return f"{'senders' if isinstance(mixing, Push) else 'receivers'} choose{times}"


@struct.dataclass
class Repeat:
    """Several rounds of a topology in every step; made by ``repeat``."""

    topology: Topology
    times: int = struct.field(pytree_node=False)

    @property
    def num_slots(self) -> int:
        """As before."""
        return self.topology.num_slots

    @property
    def period(self) -> int | None:
        """p / gcd(p, times)."""
        period = self.topology.period
        return None if period is None else period // math.gcd(period, self.times)

    def at(self, t: Array | int) -> Repeated:
        """Rounds times·t, …, times·t + times − 1."""
        rounds = jnp.asarray(t, jnp.int32) * self.times + jnp.arange(
            self.times, dtype=jnp.int32
        )
        return Repeated(jax.vmap(self.topology.at)(rounds))


def repeat(topology: Topology, times: int) -> Repeat:
    """Several rounds of gossip per step: times·t, …, times·t + times − 1 in step t.

    All their messages are counted. It preserves the mean if the topology does.

    Args:
      topology: any.
      times: rounds of gossip per step, at least 1.

    >>> from tele_jax import graphs
    >>> repeat(graphs.one_peer_exponential(8), 3).period  # exact in every step
    1
    """
    times = build.check_size("repeat", times, "round of gossip", "rounds of gossip")
    if isinstance(topology, Repeat):
        return Repeat(topology.topology, topology.times * times)
    return Repeat(topology, times)
