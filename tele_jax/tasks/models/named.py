"""Models by their names, as a flag of a study or a cell of a notebook gives them."""

import difflib
from collections.abc import Callable
from typing import Any

from flax import linen as nn

from tele_jax.tasks.models.dense import MLP, Softmax
from tele_jax.tasks.models.holders import Linen
from tele_jax.tasks.models.lenet import LeNet
from tele_jax.tasks.models.mixer import Mixer
from tele_jax.tasks.models.resnet import ResNet
from tele_jax.tasks.models.vgg import VGG11


def _resnet18(**options: Any) -> ResNet:
    return ResNet(blocks=(2, 2, 2, 2), width=64, **options)


_SHALLOW: dict[str, Callable[..., nn.Module]] = {
    "softmax": Softmax,
    "mlp": MLP,
    "lenet": LeNet,
}
_DEEP: dict[str, Callable[..., nn.Module]] = {
    "vgg11": VGG11,
    "resnet18": _resnet18,
    "resnet20": ResNet,
    "mixer": Mixer,
}
"""Those that can compute their activations again."""


def by_name(name: str, num_classes: int = 10, *, remat: bool = False) -> Linen:
    """The model "softmax", "mlp" (64 hidden units), "lenet", "vgg11", "resnet18", …

    Args:
      name: or "resnet20" or "mixer".
      num_classes: how many logits it gives.
      remat: compute activations of its blocks again for the gradient, instead of
        remembering them; for "vgg11", "resnet18", "resnet20" and "mixer".

    Raises:
      ValueError: no model is called so, or it is too shallow for ``remat``.

    >>> by_name("mlp") == Linen(MLP())
    True
    """
    every = _SHALLOW | _DEEP
    if name not in every:
        close = difflib.get_close_matches(name, every, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"by_name: no model is called {name!r}, expected one of"
            f" {', '.join(every)}; did you mean {close!r}?"
        )
    if remat and name not in _DEEP:
        raise ValueError(
            f"by_name: got remat=True for {name!r}, which has few activations to"
            f" compute again; expected {', '.join(_DEEP)}, or leave remat out."
        )
    options = {"remat": True} if remat else {}
    return Linen(every[name](num_classes=num_classes, **options))
