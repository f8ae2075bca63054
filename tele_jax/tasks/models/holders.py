"""How a task holds a model of flax.

Running statistics (BatchNorm) are refused: they are not parameters, so averaging
leaves them behind and they no longer fit the model. GroupNorm keeps none. So is Dropout
that drops, for nothing gives it random numbers.
"""

import inspect
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx, struct

from tele_jax._types import Array, Key, Params


@struct.dataclass
class Linen:
    """A ``flax.linen`` module as a model: equal modules make equal models.

    Args:
      module: its only variables are parameters, its fields hashable (no lists).

    >>> model = Linen(nn.Dense(3))
    >>> inputs = jnp.ones((5, 8))
    >>> model.apply(model.init(jax.random.key(0), inputs), inputs).shape
    (5, 3)
    """

    module: nn.Module = struct.field(pytree_node=False)

    def init(self, key: Key, inputs: Array) -> Params:
        """Parameters of one model, from the key and the shape of inputs ``[b, ...]``.

        Raises:
          ValueError: the module has variables that are not parameters, or it cannot be
            called with inputs alone.
        """
        self._check_signature()
        # Images are stored as uint8, and reach the model as float32.
        stored = jax.dtypes.canonicalize_dtype(inputs.dtype)
        dtype = jnp.float32 if stored == jnp.uint8 else stored
        shape = jax.ShapeDtypeStruct(inputs.shape, dtype)
        with nn.intercept_methods(_refuse_layers):
            variables = self.module.lazy_init(key, shape)
        _refuse_others("Linen", set(variables) - {"params"})
        return variables.get("params", {})

    def apply(self, params: Params, inputs: Array) -> Array:
        """Logits ``[b, classes]`` of inputs ``[b, ...]``.

        Raises:
          ValueError: the parameters are not those of this module.
        """
        expected = jax.eval_shape(lambda: self.init(jax.random.key(0), inputs))
        _check_params("Linen", params, expected)
        return cast(Array, self.module.apply({"params": params}, inputs))

    def _check_signature(self) -> None:
        try:
            inspect.signature(self.module.__call__).bind(None)
        except (AttributeError, TypeError) as error:
            raise ValueError(
                f"Linen: {type(self.module).__name__} cannot be called with inputs "
                f"alone ({error}). Training and evaluation are the same here, without "
                "BatchNorm and Dropout: make of its other arguments fields of the "
                "module."
            ) from error


@struct.dataclass
class Nnx:
    """A ``flax.nnx`` module as a model, with its parameters as a plain dict.

    Args:
      factory: makes the module from ``nnx.Rngs``; a new lambda would compile anew.

    >>> def linear(rngs):
    ...     return nnx.Linear(8, 3, rngs=rngs)
    >>> model = Nnx(linear)
    >>> inputs = jnp.ones((5, 8))
    >>> model.apply(model.init(jax.random.key(0), inputs), inputs).shape
    (5, 3)
    """

    factory: Callable[[nnx.Rngs], nnx.Module] = struct.field(pytree_node=False)

    def init(self, key: Key, inputs: Array | None = None) -> Params:
        """As ``Linen.init``; of the key alone, for an nnx module knows its sizes."""
        del inputs
        return nnx.to_pure_dict(self._split(key)[1])

    def apply(self, params: Params, inputs: Array) -> Array:
        """Logits ``[b, classes]`` of inputs ``[b, ...]``.

        Raises:
          ValueError: the parameters are not those of this module.
        """
        graph, state = nnx.eval_shape(lambda: self._split(jax.random.key(0)))
        _check_params("Nnx", params, nnx.to_pure_dict(state))
        nnx.replace_by_pure_dict(state, params)
        try:
            return nnx.merge(graph, state)(inputs)
        except Exception as error:
            error.add_note(f"Nnx: the module was given inputs of shape {inputs.shape}.")
            raise

    def _split(self, key: Key) -> tuple[nnx.GraphDef, nnx.State]:
        graph, state, *rest = nnx.split(self.factory(nnx.Rngs(key)), nnx.Param, ...)
        others = [leaf for _, leaf in nnx.to_flat_state(rest[0])]
        _refuse_others("Nnx", {type(leaf).__name__ for leaf in others})
        return graph, state


Model = Linen | Nnx
"""What a task holds: ``init(key, inputs)`` and ``apply(params, inputs)``."""


def _refuse_layers(
    call: Callable[..., Any], args: Any, kwargs: Any, context: Any
) -> Any:
    """Before flax asks for what they would need, such as use_running_average."""
    layer = context.module
    if context.method_name != "__call__":
        return call(*args, **kwargs)
    if isinstance(layer, nn.BatchNorm):
        _refuse_others("Linen", {"BatchNorm"})
    if isinstance(layer, nn.Dropout) and layer.rate > 0:
        deterministic, rng = (*args, None, None, None)[1:3]
        if not (
            layer.deterministic
            or deterministic
            or kwargs.get("deterministic")
            or kwargs.get("rng", rng) is not None
        ):
            raise ValueError(
                "Linen: the module has Dropout, which would need random numbers that "
                "nothing gives it; leave it out, or make it deterministic."
            )
    return call(*args, **kwargs)


def _refuse_others(who: str, kinds: set[str]) -> None:
    if kinds:
        raise ValueError(
            f"{who}: the module holds {', '.join(sorted(kinds))}, expected parameters"
            " only: gossip averages these and leaves all else behind, such as running"
            " statistics, which then fit no model; use GroupNorm in place of BatchNorm,"
            " and no Dropout."
        )


def _check_params(who: str, params: Params, expected: Params) -> None:
    # flax lets unknown parameters pass, and nnx misshapen ones too.
    got, wanted = (
        {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves}
        for leaves in map(jax.tree.leaves_with_path, (params, expected))
    )
    for path in {**wanted, **got}:
        if got.get(path) != wanted.get(path):
            raise ValueError(
                f"{who}: params do not match the model: {path or 'params'} has shape"
                f" {got.get(path)}, expected {wanted.get(path)} (None: absent); make"
                " them with init of the same model on inputs of the same shape."
            )
