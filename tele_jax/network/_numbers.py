"""Refusing numbers that cannot be times, rates or probabilities."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tele_jax._types import Array, Scalar


def check(
    name: str,
    what: str,
    value: Any,
    *,
    at_least: float = 0.0,
    more_than: float = -np.inf,
    at_most: float = np.inf,
    finite: bool = True,
    single: bool = False,
    whole: bool = False,
) -> Any:
    """The value, if all of it is within the range; what is traced is not looked at.

    Raises:
      ValueError: it is not, or not a number; ``name`` and ``what`` begin the sentence.

    >>> check("same", "latency", 0.1)
    0.1
    """
    if single and np.shape(value) != ():
        raise ValueError(
            f"{name}: got {what} of shape {np.shape(value)}, expected one number."
        )
    if isinstance(value, jax.core.Tracer):
        return value
    try:
        if np.asarray(value).dtype.kind in "bUSO":
            raise TypeError
        given = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: got {what}={value!r}, expected numbers.") from None
    right = (given >= at_least) & (given > more_than) & (given <= at_most)
    if finite:
        right &= np.isfinite(given)
    if whole:
        right &= given == np.round(given)
    if not right.all():
        least = f"more than {more_than:g}" if more_than >= at_least else ""
        least = least or f"at least {at_least:g}"
        most = f" and at most {at_most:g}" if at_most < np.inf else ""
        kind = "an integer of " * whole or "a finite number of " * finite
        some = f"{what}={given[~right].ravel()[0]:g}" + " among them" * (given.ndim > 0)
        raise ValueError(f"{name}: got {some}, expected {kind}{least}{most}.")
    return value


def check_costs(
    name: str,
    latency: Scalar,
    bandwidth: Scalar,
    shape: tuple[int, ...] = (),
    of_what: str = "all pairs",
) -> tuple[Array, Array]:
    """Latency in seconds and bandwidth in bytes per second as float32, or a sentence.

    >>> [part.tolist() for part in check_costs("same", 0.5, 1e6)]
    [0.5, 1000000.0]
    """
    for what, given in (("latency", latency), ("bandwidth", bandwidth)):
        if np.shape(given) != shape:
            raise ValueError(
                f"{name}: got {what} of shape {np.shape(given)}, expected {shape} for "
                f"{of_what}."
            )
    check(name, "latency", latency)
    check(name, "bandwidth", bandwidth, more_than=0.0, finite=False)
    return jnp.asarray(latency, jnp.float32), jnp.asarray(bandwidth, jnp.float32)
