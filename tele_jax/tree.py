"""Arithmetic on trees whose leaves carry all slots on a leading axis ``[k, ...]``."""

import math

import jax
import jax.numpy as jnp

from tele_jax._types import Array, Params, Slots


def stack(params: Params, num_slots: int) -> Slots:
    """Give every slot the same model: leaves ``[...]`` become ``[k, ...]``.

    >>> stack({"w": jnp.ones(3)}, 2)["w"].shape
    (2, 3)
    """
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (num_slots, *jnp.shape(leaf))), params
    )


def average(slots: Slots) -> Params:
    """The mean model, x̄ = (1/k) Σ_a x_a.

    >>> average({"w": jnp.array([[0.0, 2.0], [2.0, 4.0]])})["w"].tolist()
    [1.0, 3.0]
    """
    return jax.tree.map(lambda leaf: leaf.mean(axis=0), slots)


def squared_norm(params: Params) -> Array:
    """The squared Euclidean norm of all leaves together, ‖x‖².

    >>> float(squared_norm({"w": jnp.array([3.0]), "b": jnp.array(4.0)}))
    25.0
    """
    return sum(
        (jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params)), jnp.zeros(())
    )


def consensus_distance(slots: Slots) -> Array:
    """How far the slots disagree, (1/k) Σ_a ‖x_a − x̄‖².

    >>> float(consensus_distance(jnp.array([[0.0], [2.0]])))
    1.0
    """
    # Written per leaf around its own mean: ‖x‖² − ‖x̄‖² would cancel in float32.
    deviations = jax.tree.map(
        lambda leaf: leaf - leaf.mean(axis=0, keepdims=True), slots
    )
    return squared_norm(deviations) / num_slots(slots)


def num_slots(slots: Slots) -> int:
    """The length k of the leading axis.

    >>> num_slots({"w": jnp.ones((4, 3))})
    4
    """
    return jax.tree.leaves(slots)[0].shape[0]


def num_bytes(params: Params) -> int:
    """What one model weighs in a message, in bytes.

    >>> num_bytes({"w": jnp.ones((4, 3)), "b": jnp.ones(3)})
    60
    """
    return sum(
        math.prod(jnp.shape(leaf)) * jnp.result_type(leaf).itemsize
        for leaf in jax.tree.leaves(params)
    )
