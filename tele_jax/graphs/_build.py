"""What the builders share: checks in words, and tables of senders from index arrays."""

import numbers
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import SupportsIndex

import numpy as np

from tele_jax.topology import Periodic, from_senders

_MAX_ENTRIES = 2**27
"""Largest table of senders, 1 GiB with its weights."""


def check_size(
    name: str, size: SupportsIndex, what: str = "slot", whats: str | None = None
) -> int:
    """The size as a Python integer: NumPy's overflow, and lack its methods."""
    number = check_whole(name, size, f"a whole number >= 1 of {whats or what + 's'}")
    if number < 1:
        raise ValueError(f"{name}: needs at least 1 {what}, got {number}.")
    return number


def check_whole(name: str, number: SupportsIndex, expected: str) -> int:
    """A Python integer, or an error that says what was expected."""
    try:
        return operator.index(number)
    except TypeError:
        raise ValueError(f"{name}: got {told(number)}, expected {expected}.") from None


def told(given: object) -> str:
    """A number or word as it is, anything else by its type: arrays fill pages."""
    is_short = given is None or isinstance(given, int | float | str)
    return repr(given) if is_short else type(given).__name__


def check_degree(name: str, degree: SupportsIndex, num_slots: int) -> int:
    """At most so many partners: at least 1; more than k − 1 mean k − 1."""
    number = check_whole(name, degree, "a whole number >= 1 as degree")
    if number < 1:
        raise ValueError(f"{name}: got degree={number}, expected at least 1.")
    number = min(number, max(1, num_slots - 1))
    check_table(name, num_slots, number + 1)
    return number


def check_seed(name: str, seed: SupportsIndex) -> int:
    """A seed of a graph that is drawn once: a number, not a key."""
    number = check_whole(name, seed, "a whole number >= 0 as seed")
    if number < 0:
        raise ValueError(f"{name}: got seed={number}, expected at least 0.")
    return number


def check_probability(name: str, what: str, value: float) -> float:
    """A number in [0, 1]; NaN is none."""
    if not (isinstance(value, numbers.Real) and 0 <= value <= 1):
        raise ValueError(f"{name}: got {what}={value!r}, expected 0 <= {what} <= 1.")
    return float(value)


def check_power_of_two(name: str, num_slots: int) -> int:
    """log₂ k."""
    if num_slots & (num_slots - 1):
        raise ValueError(
            f"{name}: {num_slots} slots is not a power of two; use "
            f"base_graph({num_slots}, 1) for an exact average at any size."
        )
    return num_slots.bit_length() - 1


def check_table(name: str, num_slots: int, num_senders: int, period: int = 1) -> None:
    """Refuse what is too large to be written down."""
    if (entries := num_slots * num_senders * period) > _MAX_ENTRIES:
        rounds = f" in {period} rounds" if period > 1 else ""
        raise ValueError(
            f"{name}: {num_slots:,} slots, of which one hears {num_senders:,} with "
            f"itself{rounds}, need a table of {entries:,} entries "
            f"({8 * entries / 2**30:,.0f} GiB), more than {_MAX_ENTRIES:,}; use fewer "
            "slots, complete(k), or a sparser graph."
        )


def ceil_log2(number: int) -> int:
    """⌈log₂ number⌉."""
    return (number - 1).bit_length()


def circulant(
    num_slots: int, rounds: Iterable[Mapping[int, float] | set[int]]
) -> Periodic:
    """Round r: slot i hears i + o for every offset o, with its weight.

    Offsets that are the same modulo k add their weights; a set means equal weights of
    all that are distinct.
    """
    tables = []
    for offsets in rounds:
        if isinstance(offsets, set):
            distinct = {offset % num_slots for offset in offsets}
            offsets = dict.fromkeys(distinct, 1 / len(distinct))
        weights: dict[int, float] = {}
        for offset, weight in offsets.items():
            key = offset % num_slots
            weights[key] = weights.get(key, 0.0) + weight
        hops = np.array(sorted(weights))[:, None]
        senders = (np.arange(num_slots) + hops) % num_slots
        of_hop = np.array([weights[int(hop)] for hop in hops[:, 0]])[:, None]
        tables.append((senders, np.broadcast_to(of_hop, senders.shape)))
    return stack_rounds(tables)


def stack_rounds(tables: Sequence[tuple[np.ndarray, np.ndarray]]) -> Periodic:
    """Rounds of senders and weights [m, k], padded to the largest m."""
    longest = max(len(senders) for senders, _ in tables)
    num_slots = tables[0][0].shape[1]
    all_senders = np.empty((len(tables), longest, num_slots), np.int32)
    all_senders[:] = np.arange(num_slots)
    all_weights = np.zeros(all_senders.shape, np.float32)
    for t, (senders, weights) in enumerate(tables):
        all_senders[t, : len(senders)] = senders
        all_weights[t, : len(senders)] = weights
    return from_senders(all_senders, all_weights)


def equal_weights(senders: np.ndarray) -> Periodic:
    """Every slot hears its m senders [p, m, k] alike."""
    return from_senders(senders, np.full(senders.shape, 1.0 / senders.shape[1]))
