"""The images of the neural study: split, batched, and refused."""

import warnings

import jax
import numpy as np
import pytest

from experiments import neural, neural_cost, neural_data
from experiments.neural_recipe import Recipe


@pytest.mark.parametrize(
    ("model", "batch_size", "given", "expected"),
    [
        ("resnet20", 32, 0, 8),
        ("resnet18", 32, 0, 16),
        ("mixer", 50, 0, 5),
        ("resnet20", 7, 0, None),
        ("mlp", 32, 0, None),
        ("mlp", 32, 16, 16),
    ],
)
def test_examples_at_once_on_a_cpu(model, batch_size, given, expected):
    recipe = Recipe(batch_size=batch_size, examples_at_once=given)
    config = neural.Config(
        dataset="digits", num_nodes=2, validation=0.1, model=model, recipe=recipe
    )
    task = digits(config).test
    assert task.examples_at_once == expected
    flops = neural_cost._flops(task, jax.eval_shape(_params_of, task))
    whole = task.replace(examples_at_once=None)
    assert flops == neural_cost._flops(whole, jax.eval_shape(_params_of, task))


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_networks_compute_in_the_recipes_type(name):
    recipe = Recipe(batch_size=8, compute_dtype=name)
    config = neural.Config(dataset="digits", num_nodes=2, model="mlp", recipe=recipe)
    task = digits(config).test
    products = str(jax.make_jaxpr(task.evaluate)(_params_of(task)))
    assert ("bf16" in products) == (name == "bfloat16")


def digits(config):
    """The tasks of the digits split by Dirichlet(10)."""
    config = neural.resolve(config)
    images = neural_data.images(config, neural_data.load("digits")[0])
    return neural_data.tasks(config, images, 10.0)


def _params_of(task):
    return task.model.init(jax.random.key(0), task.inputs[:1])


def test_a_class_that_nobody_owns_is_refused():
    config = neural.resolve(neural.Config(dataset="digits", num_nodes=2))
    dataset, _ = neural_data.load("digits")
    lonely = dataset._replace(
        train_labels=np.where(dataset.train_labels == 3, 4, dataset.train_labels)
    )
    with pytest.raises(ValueError, match="no node owns an example of class 3"):
        neural_data.tasks(config, neural_data.images(config, lonely), 10.0)


def test_a_stand_in_for_a_dataset_is_told(monkeypatch):
    def load(name):
        warnings.warn("not the official file", stacklevel=2)
        return neural_data.datasets.digits()

    monkeypatch.setattr(neural_data.datasets, "by_name", load)
    assert neural_data.load("cifar10")[1] == ["not the official file"]
