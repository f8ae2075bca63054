"""The runs of the neural study: what differs between seeds."""

import jax
import jax.numpy as jnp

from experiments import neural, neural_data
from experiments.neural_runs import _start


def test_jax_keys_of_epochs_differ_between_seeds():
    config = neural.resolve(neural.Config(dataset="digits", model="softmax"))
    images = neural_data.images(config, neural_data.load("digits")[0])
    task = neural_data.tasks(config, images, 10.0).test
    keys = [jax.random.key_data(_start(task, jnp.int32(s))[2]) for s in (0, 1)]
    assert (keys[0] != keys[1]).any()
