"""What a round of gossip costs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tele_jax._routing import planned
from tele_jax.mixing import AnyMixing, Push, RankOne, Repeated, num_slots, unstack
from tele_jax.routes import models_received
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


def models_between_devices(topology: Topology, num_devices: int) -> np.ndarray:
    """Models that every device receives from others in a round of gossip.

    That many times the bytes of a model, over the bandwidth of a link, is the time a
    round spends on its way at least. On a graph that repeats after up to 64 rounds only
    models that slots of other devices hear move; a mean is one all-reduce,
    2 (D − 1) / D models; in other rounds (random, or where D does not divide k) all k
    models go everywhere.

    Args:
      topology: any.
      num_devices: D, of one ``slot_mesh``.

    Returns:
      float64[p], of every round of a period; of one round, if rounds are random.

    >>> from tele_jax import graphs
    >>> models_between_devices(graphs.ring(64), 8).tolist()
    [2.0]
    >>> models_between_devices(graphs.complete(64), 8).tolist()
    [1.75]
    """
    if (found := planned(topology, num_devices)) is not None:
        received = np.array([float(models_received(route)) for route in found.each])
        return received[np.asarray(found.due)].reshape(len(found.due), -1).sum(1)
    rounds = jnp.arange(topology.period or 1, dtype=jnp.int32)
    mixings = unstack(jax.vmap(topology.at)(rounds))
    return np.array([_through_all(mixing, num_devices) for mixing in mixings])


def _through_all(mixing: AnyMixing, num_devices: int) -> float:
    if isinstance(mixing, Repeated):
        each = unstack(mixing.rounds)
        return sum(_through_all(one, num_devices) for one in each)
    if isinstance(mixing, RankOne):
        return 2 * (num_devices - 1) / num_devices
    own = -(-num_slots(mixing) // num_devices)  # of the device that has most
    return float(max(0, num_slots(mixing) - own))


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
