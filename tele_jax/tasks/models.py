"""Models, and how a task holds one. The only file that imports flax's nn.

Running statistics (BatchNorm) are refused: they are not parameters, so averaging
leaves them behind and they no longer fit the model. GroupNorm keeps none.
"""

import difflib
from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx, struct

from tele_jax._types import Array, Key, Params
from tele_jax.tasks.convolution import convolve, max_pool


class MLP(nn.Module):
    """Dense layers with ReLU between them, on flattened inputs.

    x ← relu(x W_l + b_l) for every width of the tuple ``hidden``, logits = x W + b.

    >>> MLP((32,)).init_with_output(jax.random.key(0), jnp.ones((5, 8, 8)))[0].shape
    (5, 10)
    """

    hidden: tuple[int, ...] = (64,)
    num_classes: int = 10

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        x = inputs.reshape(inputs.shape[0], -1)
        for features in self.hidden:
            x = nn.relu(nn.Dense(features)(x))
        return nn.Dense(self.num_classes)(x)


class Softmax(nn.Module):
    """Softmax regression, a convex model: logits = x W + b on flattened inputs.

    >>> Softmax(3).init_with_output(jax.random.key(0), jnp.ones((5, 8, 8)))[0].shape
    (5, 3)
    """

    num_classes: int = 10

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        return nn.Dense(self.num_classes)(inputs.reshape(inputs.shape[0], -1))


class LeNet(nn.Module):
    """LeNet with group normalisation, the image model of the TELEPORTATION paper.

    Convolution 5 x 5 to 6 maps, ReLU, max-pool 2, GroupNorm(2); convolution 5 x 5 to 16
    maps, ReLU, max-pool 2, GroupNorm(4); dense layers of 120, 84 and ``num_classes``:
    44,470 parameters on 28 x 28 images, 44,426 without the normalisation.

    Its parameters fit the same network made of ``nn.Conv``, ``nn.GroupNorm`` (epsilon
    1e-5, as in PyTorch) and ``nn.Dense``. Inputs ``[b, h, w]`` or ``[b, h, w, c]``.

    LeCun, Bottou, Bengio & Haffner, Proceedings of the IEEE, 1998; normalisation of
    Wu & He, ECCV 2018, arXiv:1803.08494.

    >>> params = LeNet().init(jax.random.key(0), jnp.ones((1, 28, 28)))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    44470
    """

    num_classes: int = 10
    group_norm: bool = True

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        if inputs.ndim not in (3, 4) or min(inputs.shape[1:3]) < 16:
            raise ValueError(
                f"LeNet: got inputs of shape {inputs.shape}, expected [b, h, w] or"
                " [b, h, w, c] with h, w >= 16; use an MLP for smaller images."
            )
        x = inputs.reshape(*inputs.shape[:3], -1).transpose(2, 3, 1, 0)
        for layer, (features, groups) in enumerate(((6, 2), (16, 4)), start=1):
            x = _PooledConv(features, name=f"conv{layer}")(x)
            if self.group_norm:
                x = _GroupNorm(groups, name=f"norm{layer}")(x)
        x = x.transpose(3, 2, 0, 1).reshape(inputs.shape[0], -1)
        x = nn.relu(nn.Dense(120, name="dense1")(x))
        x = nn.relu(nn.Dense(84, name="dense2")(x))
        return nn.Dense(self.num_classes, name="dense3")(x)


class _PooledConv(nn.Module):
    """max_pool(relu(convolution 5 x 5)) of batch-innermost maps [W, C, H, B]."""

    features: int

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        shape = (5, 5, maps.shape[1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        # Adding the bias and ReLU are monotone: done after the maximum they give the
        # same numbers on a quarter of the work.
        maps = max_pool(convolve(maps, kernel))
        return nn.relu(maps + bias.reshape(1, -1, 1, 1))


class _GroupNorm(nn.Module):
    """nn.GroupNorm of batch-innermost maps [W, C, H, B]."""

    num_groups: int

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        width, channels, height, batch = maps.shape
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        scale, bias = (v.reshape(1, self.num_groups, -1, 1, 1) for v in (scale, bias))
        x = maps.reshape(width, self.num_groups, -1, height, batch)
        # E[x²] − E[x]² would save a pass, but cancel where a map is nearly constant.
        mean = x.mean((0, 2, 3), keepdims=True)
        variance = jnp.square(x - mean).mean((0, 2, 3), keepdims=True)
        slope = scale * jax.lax.rsqrt(variance + 1e-5)
        return (x * slope + (bias - mean * slope)).reshape(maps.shape)


@struct.dataclass
class Linen:
    """A ``flax.linen`` module as a model: equal modules make equal models.

    Args:
      module: its only variables are parameters, its fields hashable (no lists).

    >>> model = Linen(MLP((32,), num_classes=3))
    >>> inputs = jnp.ones((5, 8, 8))
    >>> model.apply(model.init(jax.random.key(0), inputs), inputs).shape
    (5, 3)
    """

    module: nn.Module = struct.field(pytree_node=False)

    def init(self, key: Key, inputs: Array) -> Params:
        """Parameters of one model, from the key and the shape of inputs ``[b, ...]``.

        Raises:
          ValueError: the module has variables that are not parameters.
        """
        # Images are stored as uint8, and reach the model as float32.
        stored = jax.dtypes.canonicalize_dtype(inputs.dtype)
        dtype = jnp.float32 if stored == jnp.uint8 else stored
        shape = jax.ShapeDtypeStruct(inputs.shape, dtype)
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
        return nnx.merge(graph, state)(inputs)

    def _split(self, key: Key) -> tuple[nnx.GraphDef, nnx.State]:
        graph, state, *rest = nnx.split(self.factory(nnx.Rngs(key)), nnx.Param, ...)
        others = [leaf for _, leaf in nnx.to_flat_state(rest[0])]
        _refuse_others("Nnx", {type(leaf).__name__ for leaf in others})
        return graph, state


Model = Linen | Nnx
"""What a task holds: ``init(key, inputs)`` and ``apply(params, inputs)``."""

_MODULES = {"softmax": Softmax, "mlp": MLP, "lenet": LeNet}


def by_name(name: str, num_classes: int = 10) -> Linen:
    """The model "softmax", "mlp" (64 hidden units) or "lenet"; a ValueError if other.

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


def _refuse_others(who: str, kinds: set[str]) -> None:
    if kinds:
        raise ValueError(
            f"{who}: the module holds {', '.join(sorted(kinds))}, expected parameters"
            " only, for gossip averages nothing else; use GroupNorm in place of"
            " BatchNorm, and no Dropout."
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
