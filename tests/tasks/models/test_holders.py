"""What the holders of flax modules refuse, as users write it."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx

from tele_jax.tasks.models import Linen, Nnx


class Ending(nn.Module):
    """A dense layer, and another one behind it."""

    layer: nn.Module

    @nn.compact
    def __call__(self, x):
        return self.layer(nn.Dense(3)(x))


class Trained(nn.Module):
    """Told whether it is trained, as many examples have it."""

    @nn.compact
    def __call__(self, x, train):
        return nn.BatchNorm(use_running_average=not train)(nn.Dense(3)(x))


class Dropping(nn.Module):
    """Dropout that is told when it is called whether it drops."""

    deterministic: bool

    @nn.compact
    def __call__(self, x):
        dropout, x = nn.Dropout(0.5), nn.Dense(3)(x)
        x = dropout(x, self.deterministic)
        return dropout(inputs=x, deterministic=self.deterministic)


def batch_normalised(rngs):
    return nnx.Sequential(nnx.Linear(8, 3, rngs=rngs), nnx.BatchNorm(3, rngs=rngs))


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (Linen(Ending(nn.BatchNorm(use_running_average=False))), "Linen.*BatchNorm"),
        (Linen(Ending(nn.BatchNorm())), "Linen.*BatchNorm"),
        (Nnx(batch_normalised), "Nnx.*BatchStat"),
    ],
)
def test_layers_that_gossip_does_not_average_are_refused(model, kind):
    with pytest.raises(ValueError, match=rf"^{kind}.*use GroupNorm in place of Batch"):
        model.init(jax.random.key(0), jnp.ones((5, 8)))


@pytest.mark.parametrize(
    "module",
    [
        Ending(nn.Dropout(0.1, deterministic=False)),
        Ending(nn.Dropout(0.1)),
        Dropping(False),
    ],
)
def test_dropout_that_drops_is_refused(module):
    with pytest.raises(
        ValueError, match=r"^Linen: .* Dropout, which would need random"
    ):
        Linen(module).init(jax.random.key(0), jnp.ones((5, 8)))


@pytest.mark.parametrize(
    "module",
    [
        Ending(nn.GroupNorm(3)),
        Ending(nn.Dropout(0.0, deterministic=False)),
        Ending(nn.Dropout(0.5, deterministic=True)),
        Dropping(True),
    ],
)
def test_layers_that_only_have_parameters_are_taken(module):
    model, inputs = Linen(module), jnp.ones((5, 8))
    params = model.init(jax.random.key(0), inputs)
    assert model.apply(params, inputs).shape == (5, 3)


def test_a_module_that_asks_for_more_than_inputs_is_refused():
    model = Linen(Trained())
    with pytest.raises(
        ValueError, match=r"^Linen: Trained .* inputs alone \(.*'train'"
    ):
        model.init(jax.random.key(0), jnp.ones((5, 8)))


def test_a_module_that_cannot_be_called_is_refused():
    class Nothing(nn.Module):
        pass

    with pytest.raises(ValueError, match=r"^Linen: Nothing cannot be called"):
        Linen(Nothing()).init(jax.random.key(0), jnp.ones((5, 8)))


def test_what_an_nnx_module_was_given_is_told():
    def linear(rngs):
        return nnx.Linear(8, 3, rngs=rngs)

    model = Nnx(linear)
    params = model.init(jax.random.key(0))
    with pytest.raises(TypeError, match="contracting dimensions") as raised:
        model.apply(params, jnp.ones((5, 7)))
    told = "Nnx: the module was given inputs of shape (5, 7)."
    assert told in raised.value.__notes__
