"""Layers one after the other, whose insides need not be remembered."""

from collections.abc import Callable, Sequence
from typing import Any

from flax import linen as nn

from tele_jax._once import checkpoint
from tele_jax._types import Array

Layer = nn.Module | Callable[[Array], Array]


def chain(layers: Sequence[Layer], maps: Array, *, remat: bool) -> Array:
    """What the last layer makes of what the others made of the maps.

    With remat it belongs under ``jax.jit``: every call is a new function to it.

    Args:
      layers: submodules of the module that calls this, whose only variables are
        parameters, or functions of maps.
      maps: what the first layer gets.
      remat: remember these maps alone, and compute the layers' insides again where the
        gradient needs them (Chen, Xu, Zhang & Guestrin, *Training Deep Nets with
        Sublinear Memory Cost*, 2016, arXiv 1604.06174).

    >>> import jax.numpy as jnp
    >>> chain([jnp.sin, jnp.cos], jnp.zeros(2), remat=True).tolist()
    [1.0, 1.0]
    """
    modules = [layer for layer in layers if isinstance(layer, nn.Module)]
    if not remat or any(module.is_initializing() for module in modules):
        for layer in layers:
            maps = layer(maps)
        return maps
    functions, variables = zip(*map(_unbound, layers), strict=True)

    def through(variables: Sequence[Any], maps: Array) -> Array:
        for function, own in zip(functions, variables, strict=True):
            maps = function(own, maps)
        return maps

    return checkpoint(through)(variables, maps)


def _unbound(layer: Layer) -> tuple[Callable[[Any, Array], Any], Any]:
    """A function of a layer's variables and the maps, and these variables."""
    if isinstance(layer, nn.Module):
        module, variables = layer.unbind()
        return module.apply, variables
    return lambda _, maps: layer(maps), {}
