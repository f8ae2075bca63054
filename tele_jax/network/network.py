"""What sending and computing take, and what can happen at the same time."""

from typing import Literal

import numpy as np
from flax import struct

from tele_jax._types import Scalar
from tele_jax.network.collective import AllReduce
from tele_jax.network.compute import Compute
from tele_jax.network.links import Links


@struct.dataclass
class Network:
    """What sending and computing take, and what can happen at the same time.

    A node is ready for gossip when it has fetched a model and taken its step, and done
    with a round when it has all that it averages:
    T_i ← max_{j ∈ senders(i)} (T_j + compute_j + latency_ji + bytes / bandwidth_ji).

    Args:
      links: the cost of a message between two nodes, such as ``network.same(0.01)``.
      compute: the seconds of a local step, such as ``network.constant(0.1)``.
      sends: ``"parallel"``: all messages of a node leave at once, each with the whole
        bandwidth of its link, and the node goes on.
        ``"serial"``: one after the other, in increasing order of the receivers' slots;
        the node is done when the last has left.
      duplex: ``"full"``, or ``"half"``: a node receives only after it has sent.
      barrier: nobody begins a round before all have finished the last.
      overlap: the gradient is computed while models are on their way, and both must
        be there for the next; the iterates stay those of the plain order. For methods
        whose models stay at their nodes.
      all_reduce: how gossip on ``graphs.complete`` is done, see
        ``network.all_reduce_seconds``.
      model_bytes: what a model weighs on its way, more than 0; a leaf. None: what it
        weighs in memory. Give it where models are compressed, or to time a large model
        while a small one is trained.

    >>> from tele_jax import network
    >>> Network(network.same(0.01, 1e6), network.constant(0.1)).sends
    'parallel'
    """

    links: Links
    compute: Compute
    sends: Literal["parallel", "serial"] = struct.field(
        pytree_node=False, default="parallel"
    )
    duplex: Literal["full", "half"] = struct.field(pytree_node=False, default="full")
    barrier: bool = struct.field(pytree_node=False, default=False)
    overlap: bool = struct.field(pytree_node=False, default=False)
    all_reduce: AllReduce = struct.field(pytree_node=False, default="ring")
    model_bytes: Scalar | None = None

    def __post_init__(self) -> None:
        """Whole numbers of bytes can be beyond int32, which jax would make of them."""
        given = self.model_bytes
        if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
            object.__setattr__(self, "model_bytes", float(given))
