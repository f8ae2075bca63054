"""Names for the arrays and trees that flow through the package.

Axis letters in every shape comment: ``n`` nodes, ``k`` slots, ``m`` senders per slot
(self included), ``p`` period, ``s`` examples per node, ``N`` examples in all,
``b`` batch, ``e`` evaluations, ``d`` parameters.
"""

from collections.abc import Mapping
from typing import Any

import jax
from jax.typing import ArrayLike

Array = jax.Array
Key = jax.Array
"""A typed random key made by ``jax.random.key``."""
Scalar = ArrayLike
"""A number a user may sweep: a Python number or an array of shape ``[]``."""
Params = Any
"""The parameters of one model: a tree of floating-point arrays."""
Slots = Any
"""The parameters of all live models: a ``Params`` tree with a leading slot axis."""
Batch = Any
"""What ``Task.sample`` gives and ``Task.loss`` takes: a tree of arrays."""
Metrics = Mapping[str, Array]
"""Named measurements of one moment of a run."""
