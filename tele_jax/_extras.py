"""Packages that only a part of tele_jax needs."""

import importlib
from typing import Any


def import_extra(who: str, module: str, extra: str) -> Any:
    """A module of an extra.

    Args:
      who: needs it.
      module: of the package.
      extra: the one of tele_jax that installs it.

    Raises:
      ImportError: it is not installed; with what to type.

    >>> import_extra("doctest", "a_plot", "plot")
    Traceback (most recent call last):
    ImportError: doctest: a_plot cannot be imported; pip install "tele_jax[plot]".
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'{who}: {module} cannot be imported; pip install "tele_jax[{extra}]".'
        ) from error
