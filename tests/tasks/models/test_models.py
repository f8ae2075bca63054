"""The models against the same networks made of flax's own layers."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx

from tele_jax.tasks.models import MLP, LeNet, Linen, Nnx, ResNet, Softmax, by_name


class ReferenceLeNet(nn.Module):
    """LeNet in plain flax, in the order of the paper: ReLU before the maximum."""

    group_norm: bool = True

    @nn.compact
    def __call__(self, x):
        x = x.reshape(*x.shape[:3], -1)
        for layer, features, groups in ((1, 6, 2), (2, 16, 4)):
            x = nn.Conv(features, (5, 5), padding="VALID", name=f"conv{layer}")(x)
            x = nn.max_pool(nn.relu(x), (2, 2), (2, 2))
            if self.group_norm:
                norm = nn.GroupNorm(groups, epsilon=1e-5, name=f"norm{layer}")
                x = norm(x)
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(120, name="dense1")(x))
        x = nn.relu(nn.Dense(84, name="dense2")(x))
        return nn.Dense(10, name="dense3")(x)


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def perturbed(params):
    """Every parameter away from its initial 0 or 1, so that each is tested."""
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    moved = [
        leaf + 0.1 * jax.random.normal(key, leaf.shape)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(treedef, moved)


@functools.partial(jax.jit, static_argnums=0)
def outputs_and_gradient(module, params, inputs):
    def loss(params):
        logits = module.apply({"params": params}, inputs)
        return jnp.mean(logits**2), logits

    (_, logits), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    return logits, gradient


@pytest.mark.parametrize(("group_norm", "size"), [(True, 44_470), (False, 44_426)])
def test_lenet_has_the_parameters_of_the_paper(group_norm, size):
    params = Linen(LeNet(group_norm=group_norm)).init(
        jax.random.key(0), jnp.ones((1, 28, 28))
    )
    assert count(params) == size


@pytest.mark.parametrize("group_norm", [True, False])
@pytest.mark.parametrize("shape", [(5, 28, 28), (1, 19, 33, 3)])
def test_lenet_is_that_of_plain_flax(group_norm, shape):
    ours, reference = LeNet(group_norm=group_norm), ReferenceLeNet(group_norm)
    inputs = jax.random.normal(jax.random.key(1), shape)
    params = Linen(ours).init(jax.random.key(0), inputs)
    chex.assert_trees_all_equal(
        params, reference.init(jax.random.key(0), inputs)["params"]
    )
    got, expected = (
        outputs_and_gradient(module, perturbed(params), inputs)
        for module in (ours, reference)
    )
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "image"),
    [(by_name("lenet"), (28, 28)), (Linen(ResNet((1, 1), 8)), (8, 8, 3))],
    ids=["lenet", "resnet"],
)
def test_a_model_of_slots_is_the_model_of_each(model, image):
    inputs = jax.random.normal(jax.random.key(1), (3, 2, *image))
    keys = jax.random.split(jax.random.key(0), 3)
    slots = jax.vmap(lambda key: model.init(key, inputs[0]))(keys)
    alone = jax.jit(model.apply)
    for slot, logits in enumerate(jax.jit(jax.vmap(model.apply))(slots, inputs)):
        params = jax.tree.map(lambda leaf, slot=slot: leaf[slot], slots)
        one = alone(params, inputs[slot])
        chex.assert_trees_all_close(logits, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("level", [0.0, 1.0, 100.0])
def test_constant_images_are_as_in_exact_arithmetic(level):
    """All maps are constant, so the normalised ones are the bias: one logit for all."""
    inputs = jnp.full((2, 28, 28), level)
    params = perturbed(Linen(LeNet()).init(jax.random.key(0), inputs))
    # One channel group sees several constants; equal channels make the map constant.
    params["conv1"] = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf[..., :1], leaf.shape), params["conv1"]
    )
    logits, gradient = outputs_and_gradient(LeNet(), params, inputs)
    blank, _ = outputs_and_gradient(LeNet(), params, jnp.zeros_like(inputs))
    chex.assert_tree_all_finite(gradient)
    chex.assert_trees_all_close(logits, blank, rtol=1e-2, atol=1e-2)


def test_lenet_refuses_small_images():
    with pytest.raises(ValueError, match=r"^LeNet: got inputs of shape \(1, 8, 8\),"):
        by_name("lenet").init(jax.random.key(0), jnp.ones((1, 8, 8)))


def test_softmax_and_mlp_are_their_formulas():
    inputs = jax.random.normal(jax.random.key(1), (5, 8, 8))
    x = inputs.reshape(5, 64)
    params = perturbed(by_name("softmax").init(jax.random.key(0), inputs))
    dense = params["Dense_0"]
    chex.assert_trees_all_close(
        by_name("softmax").apply(params, inputs),
        x @ dense["kernel"] + dense["bias"].reshape(1, -1),
        rtol=1e-5,
        atol=1e-5,
    )
    model = Linen(MLP((7,), num_classes=3))
    params = perturbed(model.init(jax.random.key(0), inputs))
    first, last = params["Dense_0"], params["Dense_1"]
    hidden = jnp.maximum(x @ first["kernel"] + first["bias"].reshape(1, -1), 0)
    chex.assert_trees_all_close(
        model.apply(params, inputs),
        hidden @ last["kernel"] + last["bias"].reshape(1, -1),
        rtol=1e-5,
        atol=1e-5,
    )


def linear(rngs):
    return nnx.Sequential(
        nnx.Linear(8, 6, rngs=rngs), nnx.relu, nnx.Linear(6, 3, rngs=rngs)
    )


def deep(rngs):
    return nnx.Sequential(nnx.Linear(8, 3, rngs=rngs), nnx.Linear(3, 3, rngs=rngs))


@pytest.mark.parametrize(
    ("build", "other"),
    [
        (lambda: Linen(MLP((32,))), Linen(MLP((33,)))),
        (lambda: Linen(LeNet()), Linen(LeNet(group_norm=False))),
        (lambda: Nnx(linear), Nnx(deep)),
    ],
)
def test_a_rebuilt_model_is_the_same_and_does_not_compile_again(build, other):
    traces = []

    @jax.jit
    def run(model):
        traces.append(model)

    run(build())
    run(build())
    assert len(traces) == 1
    assert jax.tree.structure(build()) == jax.tree.structure(build())
    assert hash(build()) == hash(build())
    assert jax.tree.structure(build()) != jax.tree.structure(other)


def test_nnx_is_the_module_the_factory_makes():
    inputs, key = jax.random.normal(jax.random.key(1), (5, 8)), jax.random.key(0)
    model = Nnx(linear)
    params = model.init(key, inputs)
    chex.assert_trees_all_equal(
        jax.jit(model.apply)(params, inputs), jax.jit(linear(nnx.Rngs(key)))(inputs)
    )
    slots = jax.vmap(model.init, in_axes=(0, None))(jax.random.split(key, 4), inputs)
    logits = jax.vmap(model.apply, in_axes=(0, None))(slots, inputs)
    chex.assert_shape(logits, (4, 5, 3))
    gradient = jax.grad(lambda params: model.apply(params, inputs).sum())(params)
    chex.assert_trees_all_equal_shapes(gradient, params)


@pytest.mark.parametrize("model", [Linen(MLP((6,), 3)), Nnx(linear)])
def test_init_is_a_function_of_the_key(model):
    a, b = jnp.ones((1, 8)), jnp.zeros((9, 8))
    init = [model.init(jax.random.key(seed), x) for seed, x in ((0, a), (0, b), (1, a))]
    chex.assert_trees_all_equal(init[0], init[1])
    leaves = zip(jax.tree.leaves(init[0]), jax.tree.leaves(init[2]), strict=True)
    assert any((x != y).any() for x, y in leaves)


@pytest.mark.parametrize("model", [Linen(MLP((6,), 3)), Nnx(linear)])
@pytest.mark.parametrize("fault", ["misshapen", "missing", "unknown"])
def test_params_that_do_not_fit_are_refused(model, fault):
    inputs = jnp.ones((5, 8))
    params = model.init(jax.random.key(0), inputs)
    layer = params if "Dense_0" in params else params["layers"]
    name = next(iter(layer))
    if fault == "misshapen":
        layer[name]["bias"] = jnp.ones(4)
    elif fault == "missing":
        del layer[name]["bias"]
    else:
        layer[name]["scale"] = jnp.ones(6)
    with pytest.raises(ValueError, match=r": params do not match the model: \["):
        model.apply(params, inputs)


def test_by_name():
    assert by_name("softmax", 3) == Linen(Softmax(3))
    assert by_name("mlp") == Linen(MLP((64,)))
    assert by_name("lenet", num_classes=7) == Linen(LeNet(num_classes=7))
    with pytest.raises(
        ValueError, match=r"^by_name: .*'lennet'.* did you mean 'lenet'"
    ):
        by_name("lennet")
