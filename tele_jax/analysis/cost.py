"""What a round of gossip costs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tele_jax.mixing import AnyMixing, Push, RankOne, Repeated, num_slots, unstack
from tele_jax.topology import Topology


class Degrees(NamedTuple):
    """Partners of a slot in a round, over slots and rounds."""

    in_max: int
    """Most models that a slot hears."""
    out_max: int
    """Most slots that hear a slot."""
    mean: float
    """Models that a slot hears, or sends, on average: messages per slot."""


def degrees(topology: Topology, num_rounds: int | None = None) -> Degrees:
    """In- and out-degrees; a slot is no partner of itself.

    Args:
      topology: any.
      num_rounds: by default a period, and 100 rounds of a random topology. Several
        rounds of gossip in a step add up.

    >>> from tele_jax import graphs
    >>> degrees(graphs.star(5))
    Degrees(in_max=4, out_max=4, mean=1.6)
    """
    num_rounds = num_rounds or topology.period or 100
    stacked = jax.vmap(topology.at)(jnp.arange(num_rounds, dtype=jnp.int32))
    counts = [_in_and_out(mixing) for mixing in unstack(stacked)]
    heard, told = (np.array(part) for part in zip(*counts, strict=True))
    return Degrees(int(heard.max()), int(told.max()), float(heard.mean()))


def _in_and_out(mixing: AnyMixing) -> tuple[np.ndarray, np.ndarray]:
    size = num_slots(mixing)
    if isinstance(mixing, Repeated):
        each = [_in_and_out(one) for one in unstack(mixing.rounds)]
        heard, told = (np.sum(part, axis=0) for part in zip(*each, strict=True))
        return heard, told
    if isinstance(mixing, RankOne):
        sends, receives = (np.asarray(part) != 0 for part in mixing[1:])
        both = sends & receives
        return receives * sends.sum() - both, sends * receives.sum() - both
    own = np.broadcast_to(np.arange(size), mixing[0].shape)
    other = np.asarray(mixing[0])
    travels = (other != own) & (np.asarray(mixing.weights) != 0)
    by_column = travels.sum(axis=0)
    by_other = np.bincount(other[travels], minlength=size)
    return (by_other, by_column) if isinstance(mixing, Push) else (by_column, by_other)
