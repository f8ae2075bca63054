"""VGG-11, ResNet and the Mixer against the same networks made of flax's own layers."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from tele_jax.tasks.models import VGG11, Linen, Mixer, ResNet, by_name
from tests.tasks.models.test_models import count, outputs_and_gradient, perturbed


def _norm(name):
    return nn.GroupNorm(8, epsilon=1e-5, name=name)


class ReferenceVGG11(nn.Module):
    """VGG-11 in plain flax, NHWC."""

    @nn.compact
    def __call__(self, x):
        layer = 0
        for step in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
            if step == "M":
                x = nn.max_pool(x, (2, 2), (2, 2))
                continue
            layer += 1
            x = nn.Conv(step, (3, 3), padding=1, name=f"conv{layer}")(x)
            x = nn.relu(_norm(f"norm{layer}")(x))
        return nn.Dense(10, name="dense")(x.mean((1, 2)))


class ReferenceBlock(nn.Module):
    """A basic block in plain flax."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x):
        conv = functools.partial(nn.Conv, self.features, use_bias=False)
        strides = (self.stride, self.stride)
        y = conv((3, 3), strides=strides, padding=1, name="conv1")(x)
        y = nn.relu(_norm("norm1")(y))
        y = _norm("norm2")(conv((3, 3), padding=1, name="conv2")(y))
        if x.shape != y.shape:
            x = conv((1, 1), strides=strides, padding=0, name="conv3")(x)
            x = _norm("norm3")(x)
        return nn.relu(x + y)


class ReferenceResNet(nn.Module):
    """ResNet in plain flax."""

    blocks: tuple[int, ...]
    width: int

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (3, 3), padding=1, use_bias=False, name="conv")(x)
        x = nn.relu(_norm("norm")(x))
        for stage, number in enumerate(self.blocks, start=1):
            for block in range(1, number + 1):
                stride = 2 if stage > 1 and block == 1 else 1
                name = f"stage{stage}_block{block}"
                x = ReferenceBlock(self.width * 2 ** (stage - 1), stride, name=name)(x)
        return nn.Dense(10, name="dense")(x.mean((1, 2)))


class ReferenceMixer(nn.Module):
    """The Mixer as it is published: a convolution makes the patches."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(64, (4, 4), strides=(4, 4), name="stem")(x)
        x = x.reshape(len(x), -1, 64)
        for block in range(1, 5):
            y = nn.LayerNorm(name=f"norm_places{block}")(x)
            y = y.transpose(0, 2, 1)
            y = self.mlp(y, 32, f"places{block}").transpose(0, 2, 1)
            x = x + y
            y = nn.LayerNorm(name=f"norm_channels{block}")(x)
            x = x + self.mlp(y, 256, f"channels{block}")
        x = nn.LayerNorm(name="norm")(x)
        return nn.Dense(10, name="dense")(x.mean(1))

    def mlp(self, x, hidden, name):
        y = nn.gelu(nn.Dense(hidden, name=f"{name}_1")(x))
        return nn.Dense(x.shape[-1], name=f"{name}_2")(y)


CASES = {
    "vgg11": (VGG11(), ReferenceVGG11(), (2, 32, 32, 3)),
    "vgg11, not square": (VGG11(), ReferenceVGG11(), (1, 34, 66, 1)),
    "resnet": (ResNet((1, 2), 8), ReferenceResNet((1, 2), 8), (3, 9, 14, 3)),
    "one block": (ResNet((1,), 16), ReferenceResNet((1,), 16), (1, 8, 8, 1)),
}


@pytest.mark.parametrize(("ours", "reference", "shape"), CASES.values(), ids=CASES)
def test_a_convolutional_model_is_that_of_plain_flax(ours, reference, shape):
    inputs = jax.random.normal(jax.random.key(1), shape)
    params = Linen(ours).init(jax.random.key(0), inputs)
    theirs = jax.eval_shape(reference.init, jax.random.key(0), inputs)["params"]
    chex.assert_trees_all_equal_shapes_and_dtypes(params, theirs)
    got, expected = (
        outputs_and_gradient(module, perturbed(params), inputs)
        for module in (ours, reference)
    )
    chex.assert_trees_all_close(got[0], expected[0], rtol=1e-3, atol=1e-4)
    # Sums of thousands of products: the largest entry of a leaf sets the scale.
    for mine, flax in zip(*map(jax.tree.leaves, (got[1], expected[1])), strict=True):
        scale = jnp.abs(flax).max()
        chex.assert_trees_all_close(mine / scale, flax / scale, rtol=0, atol=1e-4)


def _as_reference(params):
    """The Mixer's parameters under the names and shapes of the reference."""
    renamed = {}
    for name, layer in params.items():
        if name.startswith(("places", "channels")):
            renamed |= {f"{name}_{i + 1}": layer[f"Dense_{i}"] for i in range(2)}
        else:
            renamed[name] = dict(layer)
    stem = renamed["stem"]["kernel"]
    renamed["stem"]["kernel"] = stem.reshape(4, 4, -1, stem.shape[-1])
    return renamed


def test_the_mixer_is_that_of_plain_flax():
    inputs = jax.random.normal(jax.random.key(1), (3, 8, 12, 3))
    params = perturbed(Linen(Mixer()).init(jax.random.key(0), inputs))
    got, gradient = outputs_and_gradient(Mixer(), params, inputs)
    reference = outputs_and_gradient(ReferenceMixer(), _as_reference(params), inputs)
    chex.assert_trees_all_close(
        (got, _as_reference(gradient)), reference, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [
        ("vgg11", (32, 32, 3), 9_231_114),
        # 3·9·16 + 2·16, blocks of 16, 32 and 64 maps, two shortcuts, 64·10 + 10.
        ("resnet20", (32, 32, 3), 464 + 14_016 + 51_648 + 205_696 + 650),
        ("resnet18", (32, 32, 3), 11_173_962),
        ("mixer", (28, 28), 1_088 + 4 * (256 + 3_217 + 33_088) + 128 + 650),
    ],
)
def test_models_have_the_parameters_they_should(name, shape, size):
    params = jax.eval_shape(
        by_name(name).init, jax.random.key(0), jnp.ones((1, *shape))
    )
    assert count(params) == size


@pytest.mark.parametrize(
    ("name", "shape", "match"),
    [
        ("vgg11", (1, 28, 28), r"^VGG11: .* h, w >= 32"),
        ("resnet20", (1, 784), r"^ResNet: .*\(1, 784\)"),
        ("mixer", (1, 30, 28), r"^Mixer: .* multiples of patch=4"),
    ],
)
def test_images_that_do_not_fit_are_refused(name, shape, match):
    with pytest.raises(ValueError, match=match):
        by_name(name).init(jax.random.key(0), jnp.ones(shape))


@pytest.mark.parametrize(
    ("module", "match"),
    [
        (ResNet(width=12), r"^ResNet: got width=12, expected a multiple of 8"),
        (Mixer(patch=0), r"^Mixer: got patch=0, expected at least 1"),
    ],
)
def test_sizes_that_no_model_has_are_refused(module, match):
    with pytest.raises(ValueError, match=match):
        Linen(module).init(jax.random.key(0), jnp.ones((1, 32, 32, 3)))
