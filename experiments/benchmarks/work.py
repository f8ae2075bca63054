"""The work of the throughput comparison: DSGD on a ring, random images.

Initial parameters, images and batches are drawn as in the baseline scripts, so that
all programs compute the same numbers and a checksum can tell.
"""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh

import tele_jax as tele
from experiments.benchmarks.measure import Program
from tele_jax import tree
from tele_jax.tasks.classification import Model
from tele_jax.tasks.models import MLP, LeNet, Linen

NUM_EXAMPLES = 256
"""Images that each node owns."""
BATCH_SIZE = 32
LEARNING_RATE = 0.05

LENET: dict[str, tuple[int, ...]] = {
    "c1w": (6, 1, 5, 5),
    "c1b": (6,),
    "c2w": (16, 6, 5, 5),
    "c2b": (16,),
    "f1w": (120, 256),
    "f1b": (120,),
    "f2w": (84, 120),
    "f2b": (84,),
    "f3w": (10, 84),
    "f3b": (10,),
}
_MLP: dict[str, tuple[int, ...]] = {
    **{"f1w": (200, 784), "f1b": (200,)},
    **{"f2w": (200, 200), "f2b": (200,)},
    **{"f3w": (10, 200), "f3b": (10,)},
}


class Net(NamedTuple):
    """A network of the comparison, and where all nodes start."""

    name: str
    """As the baseline scripts call it."""
    model: Linen
    params: Any


@struct.dataclass
class Table:
    """Every node's batches are written down beforehand."""

    images: jax.Array
    """float32[n, s, 28, 28]"""
    labels: jax.Array
    """int32[n, s]"""
    index: jax.Array
    """int32[num_rounds, n, b]: which of its images a node uses in which round."""
    model: Model

    counts_draws: ClassVar[bool] = True

    @property
    def num_nodes(self) -> int:
        """The number n of nodes."""
        return self.labels.shape[0]

    def sample(
        self, key: jax.Array, node: jax.Array, count: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """The node's batch number ``count``; nothing is random."""
        del key
        assert count is not None
        picks = self.index[count, node]
        return self.images[node, picks], self.labels[node, picks]

    def loss(self, params: Any, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        """The mean cross-entropy."""
        images, labels = batch
        return cross_entropy(self.model.apply(params, images), labels)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """−(1/b) Σ log softmax(logits)_label."""
    logits = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(logits, labels[:, None], axis=1).mean()


def table(num_nodes: int, num_rounds: int, model: Model) -> Table:
    """The task of the comparison."""
    rng = np.random.default_rng(1)
    images = rng.normal(size=(num_nodes, NUM_EXAMPLES, 28, 28)).astype(np.float32)
    labels = rng.integers(0, 10, size=(num_nodes, NUM_EXAMPLES)).astype(np.int32)
    index = np.random.default_rng(2).integers(
        0, NUM_EXAMPLES, size=(num_rounds, num_nodes, BATCH_SIZE)
    )
    return Table(
        jnp.asarray(images), jnp.asarray(labels), jnp.asarray(index, jnp.int32), model
    )


def plain_params(shapes: dict[str, tuple[int, ...]]) -> dict[str, jax.Array]:
    """The initial parameters in PyTorch's layout, kernels OIHW and [out, in]."""
    rng = np.random.default_rng(0)
    params = {}
    for name, shape in shapes.items():
        if len(shape) == 1:
            values = np.zeros(shape)
        else:
            values = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        params[name] = jnp.asarray(values, jnp.float32)
    return params


def lenet(*, group_norm: bool) -> Net:
    """LeNet, from the same initial parameters in the layout of this package."""
    p = plain_params(LENET)
    # PyTorch flattens feature maps as (channel, row, column), we as (row, column, ch.).
    flat = p["f1w"].reshape(120, 16, 4, 4).transpose(2, 3, 1, 0).reshape(256, 120)
    params: dict[str, Any] = {
        "dense1": {"kernel": flat, "bias": p["f1b"]},
        "dense2": {"kernel": p["f2w"].T, "bias": p["f2b"]},
        "dense3": {"kernel": p["f3w"].T, "bias": p["f3b"]},
    }
    for layer, features in ((1, 6), (2, 16)):
        kernel = p[f"c{layer}w"].transpose(2, 3, 1, 0)
        params[f"conv{layer}"] = {"kernel": kernel, "bias": p[f"c{layer}b"]}
        if group_norm:
            norm = {"scale": jnp.ones(features), "bias": jnp.zeros(features)}
            params[f"norm{layer}"] = norm
    return Net("lenet", Linen(LeNet(group_norm=group_norm)), params)


def mlp() -> Net:
    """Two hidden layers of 200 units, 199,210 parameters."""
    p = plain_params(_MLP)
    params = {
        f"Dense_{i}": {"kernel": p[f"f{i + 1}w"].T, "bias": p[f"f{i + 1}b"]}
        for i in range(3)
    }
    return Net("mlp", Linen(MLP((200, 200))), params)


def mesh(num_slots: int) -> Mesh:
    """All devices, or as many as there are slots."""
    return tele.slot_mesh(min(num_slots, jax.device_count()))


def on(mesh: Mesh, program: Program) -> Program:
    """The program under that mesh."""

    def meshed() -> Any:
        with jax.set_mesh(mesh):
            return program()

    return meshed


def everywhere(mesh: Mesh, data: Any) -> Any:
    """The data on every device of the mesh, so that no call copies them there."""
    return jax.device_put(data, jax.NamedSharding(mesh, jax.P()))


def ours(net: Net, num_nodes: int, num_rounds: int, mesh: Mesh) -> Program:
    """The simulation as a user of this package writes it; gives the final models."""
    task = everywhere(mesh, table(num_nodes, num_rounds, net.model))
    algorithm = tele.DSGD(tele.graphs.ring(num_nodes), LEARNING_RATE)
    params, key = net.params, jax.random.key(0)

    def program() -> Any:
        run = tele.simulate(
            algorithm, task, params, key, num_rounds=num_rounds, observe=nothing
        )
        return run.state.params

    return on(mesh, program)


def nothing(slots: Any, task: Any) -> dict[str, jax.Array]:
    """An ``observe`` that measures nothing."""
    del slots, task
    return {}


def by_lax_conv(num_nodes: int, num_rounds: int, vectorize: str) -> Program:
    """The program one writes first in JAX, with ``lax.conv`` in every model.

    Args:
      num_nodes: n.
      num_rounds: rounds in one call.
      vectorize: ``"vmap"`` over nodes, or ``"map"``, one node after the other.
    """
    task = table(num_nodes, num_rounds, PlainLeNet())

    def step(params: Any, node: jax.Array, t: jax.Array) -> Any:
        gradient = jax.grad(task.loss)(params, task.sample(node, node, t))
        return jax.tree.map(lambda x, g: x - LEARNING_RATE * g, params, gradient)

    def gossip(x: jax.Array) -> jax.Array:
        return (x + jnp.roll(x, 1, axis=0) + jnp.roll(x, -1, axis=0)) / 3

    def one_round(params: Any, t: jax.Array) -> tuple[Any, None]:
        nodes = jnp.arange(num_nodes)
        if vectorize == "vmap":
            params = jax.vmap(step, in_axes=(0, 0, None))(params, nodes, t)
        else:
            params = jax.lax.map(
                lambda slot: step(slot[0], slot[1], t), (params, nodes)
            )
        return jax.tree.map(gossip, params), None

    @jax.jit
    def rounds(params: Any) -> Any:
        return jax.lax.scan(one_round, params, jnp.arange(num_rounds))[0]

    slots = tree.stack(plain_params(LENET), num_nodes)
    return lambda: rounds(slots)


@struct.dataclass
class PlainLeNet:
    """LeNet by ``lax``, on parameters in PyTorch's layout."""

    def apply(self, params: dict[str, jax.Array], images: jax.Array) -> jax.Array:
        """Logits [b, 10] of images [b, 28, 28]."""
        p, x = params, images[:, None]
        layout = ("NCHW", "OIHW", "NCHW")
        for layer in ("c1", "c2"):
            x = jax.lax.conv_general_dilated(
                x, p[f"{layer}w"], (1, 1), "VALID", dimension_numbers=layout
            )
            x = jax.nn.relu(x + p[f"{layer}b"][:, None, None])
            batch, channels, height, width = x.shape
            x = x.reshape(batch, channels, height // 2, 2, width // 2, 2).max((3, 5))
        x = x.reshape(x.shape[0], -1)
        x = jax.nn.relu(x @ p["f1w"].T + p["f1b"])
        x = jax.nn.relu(x @ p["f2w"].T + p["f2b"])
        return x @ p["f3w"].T + p["f3b"]


def checksum(slots: Any) -> tuple[float, float]:
    """The sum of all parameters of all models, and of their squares."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(slots)]
    return sum(x.sum() for x in leaves), sum((x**2).sum() for x in leaves)
