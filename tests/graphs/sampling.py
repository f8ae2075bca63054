"""Many rounds of a random topology, and how their mean compares with a closed form."""

import math

import jax
import numpy as np

from tele_jax.mixing import Push, RankOne
from tests import helpers

ROUNDS = 10_000
_FLOAT32 = 4 * 2**-24
"""Roundings of weights whose every round is the same."""


def sampled(topology, num_rounds=ROUNDS):
    """The matrices of the first rounds, float32[num_rounds, k, k]."""
    mixings = jax.device_get(helpers.rounds(topology, num_rounds))
    if isinstance(mixings, RankOne):
        own, send, receive = mixings
        eye = np.eye(topology.num_slots, dtype=np.float32)
        return own[:, :, None] * eye + send[:, :, None] * receive[:, None, :]
    other, weights = mixings
    size = topology.num_slots
    matrices = np.zeros((num_rounds, size, size), np.float32)
    own = np.broadcast_to(np.arange(size), other.shape)
    t = np.broadcast_to(np.arange(num_rounds)[:, None, None], other.shape)
    where = (own, other) if isinstance(mixings, Push) else (other, own)
    np.add.at(matrices, (t, *where), weights)
    return matrices


def assert_mean(samples, expected):
    """The mean over rounds [num_rounds, …] is within five of its standard errors.

    Whatever is the same in all rounds has none, only roundings.
    """
    samples = np.asarray(samples, np.float64)
    error = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
    away = np.abs(samples.mean(axis=0) - expected)
    assert (away <= 5 * error + _FLOAT32).all(), (away / (error + _FLOAT32)).max()


def assert_expected(matrices, expected):
    """E[W], entry by entry, and the mean of the diagonal and of the rest, which have
    smaller errors."""
    expected = np.broadcast_to(expected, matrices.shape[1:])
    assert_mean(matrices, expected)
    size = matrices.shape[1]
    diagonal = np.trace(matrices, axis1=1, axis2=2) / size
    assert_mean(diagonal, np.trace(expected) / size)
    others = (matrices.sum(axis=(1, 2)) - size * diagonal) / (size * (size - 1))
    assert_mean(others, (expected.sum() - np.trace(expected)) / (size * (size - 1)))


def assert_expected_contraction(matrices, expected):
    """p = 1 − c where E[(W − J)(W − J)ᵀ] = c (I − J), whose trace is c (k − 1)."""
    size = matrices.shape[1]
    squares = ((matrices - 1 / size) ** 2).sum(axis=(1, 2)) / (size - 1)
    assert_mean(1 - squares, expected)
    centred = matrices.reshape(-1, size, size) - np.float32(1 / size)
    second = np.einsum("tij,tkj->ik", centred, centred) / len(matrices)
    # Isotropic up to sampling: entries of 10⁴ rounds, each below 1, are off by 0.05.
    isotropic = (1 - expected) * (np.eye(size) - 1 / size)
    np.testing.assert_allclose(second, isotropic, rtol=0, atol=0.05)
