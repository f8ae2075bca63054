"""Models by their names, as a flag of a study or a cell of a notebook gives them."""

import difflib
from collections.abc import Callable

from flax import linen as nn

from tele_jax.tasks.models.dense import MLP, Softmax
from tele_jax.tasks.models.holders import Linen
from tele_jax.tasks.models.lenet import LeNet
from tele_jax.tasks.models.mixer import Mixer
from tele_jax.tasks.models.resnet import ResNet
from tele_jax.tasks.models.vgg import VGG11


def _resnet18(num_classes: int) -> ResNet:
    return ResNet(blocks=(2, 2, 2, 2), width=64, num_classes=num_classes)


_MODULES: dict[str, Callable[..., nn.Module]] = {
    "softmax": Softmax,
    "mlp": MLP,
    "lenet": LeNet,
    "vgg11": VGG11,
    "resnet18": _resnet18,
    "resnet20": ResNet,
    "mixer": Mixer,
}


def by_name(name: str, num_classes: int = 10) -> Linen:
    """The model "softmax", "mlp" (64 hidden units), "lenet", "vgg11", "resnet18", …

    Args:
      name: or "resnet20" or "mixer".
      num_classes: how many logits it gives.

    Raises:
      ValueError: no model is called so.

    >>> by_name("mlp") == Linen(MLP())
    True
    """
    if name not in _MODULES:
        close = difflib.get_close_matches(name, _MODULES, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"by_name: no model is called {name!r}, expected one of"
            f" {', '.join(_MODULES)}; did you mean {close!r}?"
        )
    return Linen(_MODULES[name](num_classes=num_classes))
