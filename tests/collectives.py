"""What moves between devices in a compiled program, read from its text."""

import jax
import jax.numpy as jnp
import optax

import tele_jax as tele
from experiments.benchmarks import sharing
from tests import helpers


def compiled(graph, monkeypatch):
    """The text of the program that ``simulate`` runs under a mesh."""
    momentum = jax.tree_util.Partial(optax.trace, decay=0.9)
    algorithm = tele.Teleportation(graph, 0.1, direction=momentum)
    task = helpers.quadratic(80)

    def run():
        with jax.set_mesh(tele.slot_mesh(8)):
            key, observe = jax.random.key(0), lambda slots, task: {}
            return tele.simulate(
                algorithm, task, jnp.ones(3), key, num_rounds=4, observe=observe
            )

    return helpers.rounds_program(run, monkeypatch).as_text()


def moved(text, collective):
    """Shapes of the models, floating-point, that a collective moves: "8,3"."""
    return [",".join(map(str, shape)) for shape in sharing.moved(text, collective)]
