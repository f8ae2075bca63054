"""How large a network one machine simulates: memory, start-up, time of a round.

Every node owns images of its own, drawn with replacement by Dirichlet(α), so that any
number of nodes fits any dataset. DSGD keeps a model per node, TELEPORTATION k of them
however many nodes there are. Both take the same step size, which is not tuned: what is
compared is what they cost.

    python -m experiments.many_nodes
    python -m experiments.many_nodes --num-nodes 10000 --dataset fashion_mnist \\
        --model lenet --graph "1-peer exponential" --num-rounds 100
    python -m experiments.many_nodes --num-nodes 1000 1000000 --methods TELEPORTATION
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np

import tele_jax as tele
from experiments import command, machine, many_nodes_report
from experiments.benchmarks import measure, work
from experiments.many_nodes_report import Method, Outcome
from experiments.neural_cells import GRAPHS
from experiments.results import Folder
from tele_jax import driver
from tele_jax._progress import peak_of_host
from tele_jax.tasks import datasets, models, partition

_COPIES = 7
"""So often a process holds its models at its peak, those of the driver and checkpoints
included: on a CPU 6.0 times (LeNet, n = 10⁴, 1-peer exponential graph) and 2.9 times
(softmax regression, n = 10⁵, ring) were seen."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the study; the defaults take half a minute on two cores."""

    num_nodes: tuple[int, ...] = (1000, 10_000)
    """Numbers n of nodes."""
    methods: tuple[Method, ...] = ("TELEPORTATION", "DSGD")
    """Which of the two."""
    num_active: int = 64
    """k of TELEPORTATION."""
    graph: str = "ring"
    """ring, exponential, 1-peer exponential or Base-2, over the live models."""
    dataset: Literal["digits", "fashion_mnist"] = "digits"
    """Found in $TELE_JAX_DATA, or downloaded; digits are inside scikit-learn."""
    model: str = "softmax"
    """softmax, mlp, lenet or mixer."""
    alpha: float = 1.0
    """Concentration of the Dirichlet split."""
    examples_per_node: int = 32
    """Images of a node, drawn with replacement."""
    batch_size: int = 8
    """Images of a gradient."""
    learning_rate: float = 0.1
    """η of plain SGD."""
    num_rounds: int = 100
    """Rounds of every run."""
    num_evals: int = 10
    """Evaluations of a run; divides num_rounds."""
    seed: int = 0
    """Decides the split and every run."""


def check(config: Config) -> str:
    """Refuse what cannot run, before any work, and name the folder."""
    for name in ("num_active", "examples_per_node", "batch_size"):
        if (value := getattr(config, name)) < 1:
            raise ValueError(f"got {name}={value}, expected at least 1.")
    if not 1 <= config.num_evals <= config.num_rounds or (
        config.num_rounds % config.num_evals
    ):
        raise ValueError(
            f"got num_evals={config.num_evals} with num_rounds={config.num_rounds}, "
            "expected a divisor of it."
        )
    smallest = max(2, config.num_active) if "TELEPORTATION" in config.methods else 2
    if min(config.num_nodes, default=smallest) < smallest:
        raise ValueError(
            f"got num_nodes={config.num_nodes}, expected numbers from {smallest} up."
        )
    for name in ("num_nodes", "methods"):
        value = getattr(config, name)
        if not value or len(set(value)) < len(value):
            raise ValueError(f"got {name}={value}, expected some, each once.")
    if config.graph not in GRAPHS:
        raise ValueError(
            f"got graph={config.graph!r}, expected one of {', '.join(GRAPHS)}."
        )
    for name in ("alpha", "learning_rate"):
        if not 0 < (value := getattr(config, name)) < float("inf"):
            raise ValueError(f"got {name}={value}, expected a positive number.")
    models.by_name(config.model)
    return f"{config.dataset}-{config.model}-n{max(config.num_nodes)}"


def make_task(config: Config, dataset: datasets.Dataset, num_nodes: int) -> Any:
    """The task, and the seconds it took to split the images and to make it."""
    began = time.perf_counter()
    owners = partition.dirichlet(
        dataset.train_labels,
        num_nodes,
        config.alpha,
        config.seed,
        examples_per_node=config.examples_per_node,
    )
    task = tele.tasks.classification(
        dataset,
        owners,
        models.by_name(config.model, dataset.num_classes),
        batch_size=config.batch_size,
    )
    return jax.block_until_ready(task), time.perf_counter() - began


def algorithm(config: Config, method: Method, num_nodes: int) -> Any:
    """The method on its graph."""
    graph = GRAPHS[config.graph]
    if method == "DSGD":
        return tele.DSGD(graph(num_nodes), config.learning_rate)
    return tele.Teleportation(graph(config.num_active), config.learning_rate)


def observe(slots: Any, task: Any) -> tele.Metrics:
    """The mean model, and how far the others are from it."""
    return {
        **task.evaluate(tele.tree.average(slots)),
        **tele.metrics.consensus(slots, task),
    }


def run_method(
    config: Config, method: Method, task: Any, start_seconds: float, folder: Folder
) -> Outcome:
    """Train, then time a few more rounds.

    Raises:
      KeyboardInterrupt: Ctrl-C stopped it before the last round.
    """
    label = f"{method}, n={task.num_nodes:,}"
    chosen = algorithm(config, method, task.num_nodes)
    num_slots = chosen.topology.num_slots
    start_key, run_key = jax.random.split(jax.random.key(config.seed))
    params = task.model.init(start_key, task.inputs[:1])
    simulate = functools.partial(tele.simulate, chosen, task, params, run_key)
    few = config.num_rounds // config.num_evals
    with machine.devices_share(num_slots):
        run = _train(
            simulate,
            num_rounds=config.num_rounds,
            rounds_per_chunk=few,
            label=label,
            directory=folder.directory(label, (task, params, run_key)),
            progress=folder.progress,
        )
        more = functools.partial(
            simulate, num_rounds=few, observe=work.nothing, resume=run
        )
        round_seconds = 1 / measure.rate(lambda: more().state, few, repeats=1)
    return Outcome(
        method=method,
        num_nodes=task.num_nodes,
        num_slots=num_slots,
        start_seconds=start_seconds,
        round_seconds=round_seconds,
        model_bytes=num_slots * tele.tree.num_bytes(params),
        data_bytes=sum(leaf.nbytes for leaf in jax.tree.leaves(task)),
        peak_bytes=peak_of_host() or 0,
        rounds=tuple(np.asarray(run.rounds).tolist()),
        accuracy=tuple(np.asarray(run.metrics["accuracy"]).tolist()),
        distance=tuple(np.asarray(run.metrics["consensus_distance"]).tolist()),
    )


def _train(
    simulate: Callable[..., tele.Run], *, num_rounds: int, **settings: Any
) -> tele.Run:
    """All rounds; ``settings`` are those of ``drive``."""
    run = driver.drive(
        lambda rounds, resume: simulate(
            num_rounds=rounds, observe=observe, resume=resume
        ),
        num_rounds=num_rounds,
        minutes_per_checkpoint=5.0,
        **settings,
    )
    if int(run.rounds[-1]) < num_rounds:
        raise KeyboardInterrupt
    return run


def check_memory(config: Config, dataset: datasets.Dataset) -> None:
    """Refuse networks that do not fit, from their models and data alone.

    Raises:
      ValueError: one does not, or the model does not take the images.
    """
    params = _shapes(config, dataset)
    for num_nodes, method in itertools.product(config.num_nodes, config.methods):
        num_slots = num_nodes if method == "DSGD" else config.num_active
        sharing = machine.num_sharing(num_slots)
        images = sum(array.nbytes for array in dataset)
        data = images + 4 * num_nodes * config.examples_per_node
        needed = _COPIES * num_slots * tele.tree.num_bytes(params) + sharing * data
        most = sharing * machine.memory_of(machine.device())
        if needed > most:
            raise ValueError(
                f"{method}, n={num_nodes:,} needs about {machine.bytes_told(needed)}, "
                f"there are {machine.bytes_told(most)}; lower --num-nodes, take a "
                "smaller --model, or --methods TELEPORTATION."
            )


def _shapes(config: Config, dataset: datasets.Dataset) -> Any:
    """One model's parameters, without their numbers."""
    model = models.by_name(config.model, dataset.num_classes)
    few = jax.eval_shape(lambda: dataset.train_inputs[:1])
    return jax.eval_shape(lambda: model.init(jax.random.key(0), few))


def run_study(config: Config, folder: Folder) -> None:
    """Run all, small networks first, and write the table and the figure."""
    dataset = datasets.by_name(config.dataset)
    check_memory(config, dataset)
    outcomes = []
    for num_nodes in sorted(config.num_nodes):
        task, seconds = make_task(config, dataset, num_nodes)
        for method in config.methods:
            run = functools.partial(run_method, config, method, task, seconds, folder)
            outcomes.append(folder.part(f"{method}, n={num_nodes:,}", Outcome, run))
            # Its models may fill a disk, and what is reported of them is kept.
            folder.forget(f"{method}, n={num_nodes:,}")
    print(many_nodes_report.write(folder.path, config, outcomes))


def main() -> None:
    """Entry point: flags are the fields of ``Config``."""
    machine.use_all_cores()
    command.run("many_nodes", Config, check, run_study, __doc__)


if __name__ == "__main__":
    main()
