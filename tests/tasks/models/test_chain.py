"""Activations that are computed again: the same gradients from less memory."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import tele_jax as tele
from tele_jax.tasks import datasets, partition
from tele_jax.tasks.models import VGG11, Linen, Mixer, ResNet, by_name
from tele_jax.tasks.models.chain import chain
from tests.tasks.models.test_models import outputs_and_gradient, perturbed

MODELS = {
    "vgg11": (VGG11, (32, 32, 3)),
    "resnet": (functools.partial(ResNet, blocks=(2, 1), width=8), (8, 8, 3)),
    "mixer": (functools.partial(Mixer, width=16, num_blocks=2), (8, 8)),
}
SMALL = [name for name in MODELS if name != "vgg11"]


def remembering_or_not(name, num_inputs=4):
    """A model that remembers, the same with ``remat``, and inputs of both."""
    make, shape = MODELS[name]
    inputs = jax.random.normal(jax.random.key(0), (num_inputs, *shape))
    return Linen(make()), Linen(make(remat=True)), inputs


@pytest.mark.parametrize("name", MODELS)
def test_parameters_outputs_and_gradients_are_those_of_the_model(name):
    plain, remat, inputs = remembering_or_not(name)
    params = plain.init(jax.random.key(1), inputs)
    chex.assert_trees_all_equal(remat.init(jax.random.key(1), inputs), params)
    with jax.enable_x64(True):
        exact = functools.partial(jnp.asarray, dtype=jnp.float64)
        params = jax.tree.map(exact, perturbed(params))
        got, expected = (
            outputs_and_gradient(model.module, params, exact(inputs))
            for model in (remat, plain)
        )
        chex.assert_trees_all_close(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("over", [jax.vmap, lambda f: lambda *x: jax.lax.map(f, *x)])
def test_slots_have_the_gradients_that_they_have_alone(name, over):
    _, remat, inputs = remembering_or_not(name)
    keys = jax.random.split(jax.random.key(1), 3)
    slots = jax.vmap(lambda key: remat.init(key, inputs))(keys)

    def gradient(params):
        return jax.grad(lambda x: jnp.mean(remat.apply(x, inputs) ** 2))(params)

    together = jax.jit(over(gradient))(slots)
    for slot in range(3):
        mine, alone = jax.tree.map(
            lambda leaf, slot=slot: leaf[slot], (together, slots)
        )
        chex.assert_trees_all_close(mine, gradient(alone), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_it_can_be_differentiated_forwards_and_twice(name):
    plain, remat, inputs = remembering_or_not(name)
    params = perturbed(plain.init(jax.random.key(1), inputs))
    direction = perturbed(params)

    def along(model):
        def loss(params):
            return jnp.mean(model.apply(params, inputs) ** 2)

        return jax.jvp(jax.value_and_grad(loss), (params,), (direction,))

    chex.assert_trees_all_close(along(remat), along(plain), rtol=1e-3, atol=1e-4)


def activations(model, inputs):
    """Bytes of a gradient beside its arguments and results, as XLA counts them."""
    params = jax.eval_shape(model.init, jax.random.key(1), inputs)

    def loss(params):
        return jnp.mean(model.apply(params, inputs) ** 2)

    compiled = jax.jit(jax.grad(loss)).lower(params).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(
    "make",
    [
        functools.partial(ResNet, blocks=(6,), width=8),
        functools.partial(Mixer, width=32, num_blocks=8),
    ],
    ids=["resnet", "mixer"],
)
def test_it_takes_less_memory(make):
    inputs = jnp.ones((64, 8, 8, 3))
    less = activations(Linen(make(remat=True)), inputs)
    assert less < 0.5 * activations(Linen(make()), inputs)


def test_the_estimate_of_memory_knows_it():
    images = datasets.digits()
    owners = partition.iid(images.train_labels, num_nodes=4, seed=0)
    steps = []
    for remat in (False, True):
        model = Linen(ResNet(blocks=(12,), width=8, remat=remat))
        task = tele.tasks.classification(images, owners, model, batch_size=32)
        params = model.init(jax.random.key(0), images.train_inputs[:1])
        algorithm = tele.DSGD(tele.graphs.ring(4), 0.1)
        steps.append(tele.analysis.memory(algorithm, task, params, "gpu").step)
    assert steps[1] < 0.5 * steps[0]


def test_a_run_is_the_same_run():
    images = datasets.digits()
    owners = partition.iid(images.train_labels, num_nodes=8, seed=0)
    runs = []
    for remat in (False, True):
        model = Linen(Mixer(width=16, num_blocks=2, remat=remat))
        task = tele.tasks.classification(images, owners, model, batch_size=8)
        params = model.init(jax.random.key(0), images.train_inputs[:1])
        algorithm = tele.Teleportation(tele.graphs.ring(4), 0.1)
        runs.append(
            tele.simulate(algorithm, task, params, jax.random.key(1), num_rounds=20)
        )
    chex.assert_trees_all_close(runs[1].metrics, runs[0].metrics, rtol=1e-4)


def test_functions_may_stand_between_layers():
    class Net(nn.Module):
        remat: bool

        @nn.compact
        def __call__(self, x):
            layers = [nn.Dense(5), jnp.tanh, nn.Dense(2, name="last"), lambda x: 2 * x]
            return chain(layers, x, remat=self.remat)

    x = jax.random.normal(jax.random.key(0), (3, 4))
    params = Net(remat=True).init(jax.random.key(1), x)
    assert set(params["params"]) == {"Dense_0", "last"}
    chex.assert_trees_all_close(
        Net(remat=True).apply(params, x), Net(remat=False).apply(params, x), rtol=1e-6
    )


@pytest.mark.parametrize("name", ["vgg11", "resnet18", "resnet20", "mixer"])
def test_by_name(name):
    assert by_name(name, remat=True).module == by_name(name).module.clone(remat=True)


@pytest.mark.parametrize("name", ["softmax", "mlp", "lenet"])
def test_a_shallow_model_refuses_it(name):
    with pytest.raises(ValueError, match=f"by_name: got remat=True for '{name}'"):
        by_name(name, remat=True)
