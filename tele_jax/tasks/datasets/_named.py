"""Datasets by their names."""

import difflib
from collections.abc import Callable

from tele_jax.tasks.datasets._cifar10 import cifar10
from tele_jax.tasks.datasets._dataset import Dataset
from tele_jax.tasks.datasets._digits import digits
from tele_jax.tasks.datasets._fashion_mnist import fashion_mnist

_BY_NAME: dict[str, Callable[[], Dataset]] = {
    "digits": digits,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
}


def by_name(name: str) -> Dataset:
    """The dataset called ``name``: ``"digits"``, ``"fashion_mnist"`` or ``"cifar10"``.

    Raises:
      ValueError: there is no such dataset.

    >>> by_name("digits").num_classes
    10
    >>> by_name("fashion-mnist")
    Traceback (most recent call last):
    ValueError: by_name: no dataset 'fashion-mnist'; did you mean 'fashion_mnist'?
    """
    if name not in _BY_NAME:
        # A cutoff of 0: there is always a closest name.
        (closest,) = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.0)
        raise ValueError(f"by_name: no dataset {name!r}; did you mean {closest!r}?")
    return _BY_NAME[name]()
