"""How the networks of the neural study are trained, the same for every method."""

import dataclasses
from typing import Annotated, Literal

import jax
import numpy as np
import optax

from experiments import command

CHANGE_NOTHING = ("slots_at_once", "examples_at_once", "remat")
"""Fields of ``Recipe`` that save memory; no number changes but by rounding."""

Direction = jax.tree_util.Partial


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The training recipe; the defaults follow the authors' earlier study."""

    batch_size: int = 32
    """Examples of a gradient."""
    momentum: float = 0.9
    """Of SGD; never gossiped."""
    nesterov: bool = False
    """Nesterov's momentum."""
    weight_decay: float = 0.0
    """λ: λ x is added to the gradient."""
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    """Of the step size: cosine to 0 after a linear warm-up, or divided by 10 at a half
    and at three quarters of the rounds."""
    warm_up: float = 0.02
    """Share of the rounds in which cosine rises; 10 epochs of 500."""
    local_steps: int = 1
    """τ, steps of a node between two rounds of gossip."""
    sampling: Literal["epochs", "replacement"] = "epochs"
    """Every node goes through its examples in a new order each epoch, or draws."""
    augment: Annotated[bool | None, command.default("the preset's")] = None
    """Crops of the image padded by a seventh; on CIFAR-10 reflections too. In 15 epochs
    of Fashion-MNIST they cost LeNet 7 % of accuracy, and only paper has them."""
    slots_at_once: int = 0
    """Slots that step at the same time; fewer take less memory. 0: all, on a CPU as
    many as stay in its cache."""
    examples_at_once: int = 0
    """Examples of a gradient at a time, a divisor of the batch; fewer take less memory.
    0: all, on a CPU some for the ResNets and the Mixer: they then stay in its cache."""
    remat: bool = False
    """Compute activations again for the gradient instead of remembering them: less
    memory, more time; for vgg11, resnet18, resnet20 and mixer."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """What networks compute in; parameters, gradients and gossip are in float32."""

    def check(self) -> None:
        """Refuse numbers that no training has."""
        for name, least in (
            ("batch_size", 1),
            ("local_steps", 1),
            ("slots_at_once", 0),
            ("examples_at_once", 0),
        ):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"got {name}={value}, expected at least {least}.")
        if self.examples_at_once and self.batch_size % self.examples_at_once:
            raise ValueError(
                f"got examples_at_once={self.examples_at_once}, expected a divisor of "
                f"batch_size={self.batch_size}."
            )
        for name in ("momentum", "warm_up"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise ValueError(f"got {name}={value}, expected 0 <= {name} < 1.")
        if not 0 <= self.weight_decay < np.inf:
            raise ValueError(
                f"got weight_decay={self.weight_decay}, expected at least 0."
            )

    def direction(self) -> Direction:
        """What turns a gradient into a direction."""
        build = _nesterov if self.nesterov else _heavy_ball
        return Direction(build, self.momentum, self.weight_decay)

    def factors(self, num_rounds: int) -> np.ndarray:
        """What the step size is multiplied by in every round, float32[num_rounds]."""
        # Round t has the value at t + 1, so that the first round of a warm-up moves.
        rounds = np.arange(1, num_rounds + 1)
        if self.schedule == "constant":
            return np.ones(num_rounds, np.float32)
        if self.schedule == "step":
            steps = {num_rounds // 2: 0.1, 3 * num_rounds // 4: 0.1}
            schedule = optax.piecewise_constant_schedule(1.0, steps)
        else:
            rising = max(1, round(self.warm_up * num_rounds))
            schedule = optax.warmup_cosine_decay_schedule(
                0.0, 1.0, rising, max(num_rounds + 1, rising + 1)
            )
        return np.asarray(schedule(rounds), np.float32)


def _heavy_ball(
    momentum: float, weight_decay: float
) -> optax.GradientTransformationExtraArgs:
    return optax.chain(
        optax.add_decayed_weights(weight_decay), optax.trace(momentum, nesterov=False)
    )


def _nesterov(
    momentum: float, weight_decay: float
) -> optax.GradientTransformationExtraArgs:
    return optax.chain(
        optax.add_decayed_weights(weight_decay), optax.trace(momentum, nesterov=True)
    )
