"""Runs that nobody simulated: known numbers, and nothing to compile."""

from typing import NamedTuple

import numpy as np

import tele_jax as tele
from tele_jax.algorithms.base import Info


class State(NamedTuple):
    params: np.ndarray


def by_hand(metrics, *, messages=3, num_slots=4, every=10, params=None, **info):
    """A run of ``num_slots`` models of two numbers, evaluated every 10 rounds.

    Args:
      metrics: name to numbers [..., e].
      messages: of every round.
      num_slots: k.
      every: rounds between evaluations.
      params: the models, [..., k, d].
      **info: what else every round reported, one number each.
    """
    *batch, count = np.shape(next(iter(metrics.values())))
    num_rounds = every * (count - 1)
    rounds = np.broadcast_to(every * np.arange(count), (*batch, count))
    shape = (*batch, num_rounds)
    told = {name: np.full(shape, value) for name, value in info.items()}
    return tele.Run(
        State(np.zeros((*batch, num_slots, 2)) if params is None else params),
        rounds.astype(np.int32),
        {name: np.asarray(values, np.float32) for name, values in metrics.items()},
        Info(np.ones(shape, np.float32), np.full(shape, messages, np.int32), **told),
    )
