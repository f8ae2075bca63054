"""Deep networks against PyTorch: VGG-11 and ResNets on 32 x 32 images, batch 32."""

import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

import tele_jax as tele
from experiments.benchmarks import measure, peers, work
from experiments.benchmarks.measure import Program, Record
from experiments.neural_data import examples_in_cache
from tele_jax.tasks import datasets, models, partition

_ROUNDS = {"vgg11": 12, "resnet18": 4, "resnet20": 24}
"""In one call: of some seconds each. A call itself takes 20 ms for its buffers."""
_SCRIPT = Path(__file__).parent / "torch_deep.py"


def deep(num_nodes: int, torch_python: Path | None, passes: int) -> list[Record]:
    """One line for every network and layout of PyTorch's maps; none without PyTorch.

    Ours draws its batches and gossips in one program, with the slots on all devices;
    PyTorch, eager, takes one model after the other, each with all threads.
    """
    if torch_python is None:
        print("left out: expected a --torch-python to compare with", file=sys.stderr)
        return []
    records = []
    for name, rounds in _ROUNDS.items():
        often = peers.Often(rounds, repeats=1, passes=passes)
        ours, alone = (
            often.ours(_ours(name, num_nodes, rounds, mesh), num_nodes)
            for mesh in (work.mesh(num_nodes), work.mesh(1))
        )
        baselines = {
            peer.name: often.peer(peer, name, num_nodes)
            for peer in _layouts(torch_python)
        }
        for record in peers.compare(ours, baselines, "one device", alone, passes):
            record = {"model": name, "nodes": num_nodes, **record}
            records.append(measure.judged(record, at_least=1.0))
    return records


def _layouts(torch_python: Path) -> list[peers.Peer]:
    """The script in both layouts, on the GPU if ours is there."""
    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    return [
        peers.Peer(
            f"PyTorch on the {device}, channels {where}",
            torch_python,
            _SCRIPT,
            (f"--device={device}", *options),
        )
        for where, options in (("first", ()), ("last", ("--channels-last",)))
    ]


def _ours(name: str, num_nodes: int, rounds: int, mesh: Mesh) -> Program:
    """DSGD as a user writes it, from the same models at every call."""
    model = models.by_name(name)
    at_once = examples_in_cache(name, work.BATCH_SIZE)
    task = work.everywhere(mesh, random_images(num_nodes, model, at_once))
    params = model.init(jax.random.key(0), task.inputs[:1])
    algorithm = tele.DSGD(tele.graphs.ring(num_nodes), work.LEARNING_RATE)
    simulate = partial(tele.simulate, algorithm, task, params, jax.random.key(1))
    return work.on(mesh, lambda: simulate(num_rounds=rounds, observe=work.nothing))


def random_images(
    num_nodes: int, model: models.Linen, examples_at_once: int | None
) -> tele.tasks.Classification:
    """A task like a user's."""
    rng, size = np.random.default_rng(1), num_nodes * work.NUM_EXAMPLES
    images = rng.normal(size=(size, 32, 32, 3)).astype(np.float32)
    labels = rng.integers(10, size=size)
    dataset = datasets.Dataset(images, labels, images[:32], labels[:32])
    return tele.tasks.classification(
        dataset,
        partition.iid(labels, num_nodes, seed=0),
        model,
        batch_size=work.BATCH_SIZE,
        examples_at_once=examples_at_once,
    )
