"""How the disagreement of the slots falls, round by round."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tele_jax._types import Array
from tele_jax.gossip import mix
from tele_jax.mixing import count_messages
from tele_jax.topology import Topology

_COLUMNS = 16
"""Random numbers per slot: so many that the curves are smooth."""


class Trajectory(NamedTuple):
    """What gossip alone does to random numbers, from the start on."""

    errors: np.ndarray
    """float64[num_rounds + 1], 1 at the start."""
    messages: np.ndarray
    """int64[num_rounds + 1], models sent so far, by all slots together."""


def consensus_errors(topology: Topology, num_rounds: int, seed: int = 0) -> Trajectory:
    """The consensus error √((1/k) Σ ‖x_i − x̄⁰‖²) after every round, over the first.

    x̄⁰ is the mean of the start, the exact average that is wanted. Where gossip does
    not preserve the mean (``el_local``) the slots agree on something else, and the
    error levels off. Computed in float64, but the weights are float32: errors of about
    1e-7 are rounding, which adds up, by less than 1e-8 a round.

    Args:
      topology: any.
      num_rounds: how many rounds, at least 1.
      seed: decides the numbers of the start, 16 per slot from a standard normal
        distribution.

    Returns:
      The errors, and the messages that they cost. A single slot has errors 0.

    Raises:
      ValueError: ``num_rounds`` is below 1.

    >>> from tele_jax import graphs
    >>> errors, messages = consensus_errors(graphs.one_peer_exponential(8), 3)
    >>> [bool(error < 1e-6) for error in errors], messages.tolist()
    ([False, False, False, True], [0, 8, 16, 24])
    """
    if num_rounds < 1:
        raise ValueError(
            f"consensus_errors: got num_rounds={num_rounds}, expected at least 1."
        )
    numbers = np.random.default_rng(seed).normal(size=(topology.num_slots, _COLUMNS))
    with jax.enable_x64(True):
        goal = jnp.asarray(numbers.mean(axis=0, keepdims=True))

        def gossip(x: Array, t: Array) -> tuple[Array, tuple[Array, Array]]:
            mixing = topology.at(t)
            x = mix(mixing, x)
            return x, (jnp.linalg.norm(x - goal), count_messages(mixing))

        steps = jnp.arange(num_rounds, dtype=jnp.int32)
        _, (errors, sent) = jax.lax.scan(gossip, jnp.asarray(numbers), steps)
    first = np.linalg.norm(numbers - numbers.mean(axis=0))
    return Trajectory(
        np.concatenate([[first], errors]) / (first or 1.0),
        np.concatenate([[0], np.cumsum(np.asarray(sent), dtype=np.int64)]),
    )
