"""Training every method once, and its clocks on any network.

Clocks change no iterate, and iterates change no clock: so the models are trained once,
and what rounds take is simulated apart, with models of one number, for every network.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tele_jax as tele
from experiments.results import Folder
from tele_jax import driver
from tele_jax.tasks import datasets, models, partition

Build = Callable[[Any], Any]
"""Step size to algorithm."""
BYTES = 4
"""Of the models of the clocks."""


def methods(num_nodes: int, num_active: int) -> dict[str, Build]:
    """Name to step size to algorithm."""
    n, k, graphs = num_nodes, num_active, tele.graphs
    return {
        "DSGD, ring": lambda rate: tele.DSGD(graphs.ring(n), rate),
        "DSGD, exponential": lambda rate: tele.DSGD(graphs.exponential(n), rate),
        "DSGD, Base-2": lambda rate: tele.DSGD(graphs.base_graph(n, 1), rate),
        f"TELEPORTATION, ring, k={k}": lambda rate: tele.Teleportation(
            graphs.ring(k), rate
        ),
        f"TELEPORTATION, Base-2, k={k}": lambda rate: tele.Teleportation(
            graphs.base_graph(k, 1), rate
        ),
        "All-reduce SGD": lambda rate: tele.DSGD(graphs.complete(n), rate),
    }


def image_tasks(config: Any) -> tuple[Any, list[Any]]:
    """What is validated on, and a task for every α."""
    dataset = datasets.by_name(config.dataset)
    model = models.by_name(config.model, dataset.num_classes)
    split = datasets.holdout(dataset, config.validation_fraction, config.seed)
    tested = split._replace(
        test_inputs=dataset.test_inputs, test_labels=dataset.test_labels
    )
    owners = [
        partition.dirichlet(split.train_labels, config.num_nodes, alpha, config.seed)
        for alpha in config.alphas
    ]
    task = functools.partial(
        tele.tasks.classification, model=model, batch_size=config.batch_size
    )
    return task(split, owners[0]), [task(tested, owner) for owner in owners]


def accuracies(validation: Any, slots: Any, task: Any) -> tele.Metrics:
    """Means over the models of all slots, those of nodes that are down included."""
    test = tele.metrics.each_slot(slots, task)
    return {
        "score": tele.metrics.each_slot(slots, validation)["slot_accuracy_mean"],
        "reported": test["slot_accuracy_mean"],
    }


def losses(slots: Any, task: Any) -> tele.Metrics:
    """f(x̄) − f*, which is to be small."""
    loss = task.objective(tele.tree.average(slots)) - task.objective(task.optimum())
    return {"score": -loss, "reported": loss}


def run_keys(seed: int, num_seeds: int) -> jax.Array:
    """The key of every run; a method's clocks follow the same draws."""
    return jax.random.split(jax.random.key(seed), num_seeds)


def train(
    build: Build,
    tasks: Sequence[Any],
    start: Callable[[jax.Array], Any],
    rates: Sequence[float],
    observe: Any,
    config: Any,
    label: str,
    folder: Folder,
) -> tele.Run:
    """All tasks × step sizes × seeds in one program, runs [tasks, rates, seeds].

    Args:
      build: step size to algorithm.
      tasks: of one shape.
      start: key to initial model.
      rates: the step sizes.
      observe: what is measured.
      config: num_rounds, num_evals, num_seeds and seed.
      label: of the run in the folder.
      folder: where it is kept.

    Raises:
      KeyboardInterrupt: Ctrl-C stopped it before the last round.
    """
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(_own, tasks))
    keys = run_keys(config.seed, config.num_seeds)
    steps = jnp.asarray(rates, jnp.float32)

    def one(own: Any, rate: Any, key: Any, resume: Any, num_rounds: int) -> tele.Run:
        task = tasks[0].replace(**own)
        params = start(jax.random.fold_in(key, 2**31 - 1))
        length = {"num_rounds": num_rounds, "resume": resume}
        return tele.simulate(build(rate), task, params, key, observe=observe, **length)

    def chunk(num_rounds: int, resume: tele.Run | None) -> tele.Run:
        run = functools.partial(one, num_rounds=num_rounds)
        axis = None if resume is None else 0
        for axes in ((None, None, 0), (None, 0, None), (0, None, None)):
            run = jax.vmap(run, (*axes, axis))
        return run(stacked, steps, keys, resume)

    run = driver.drive(
        chunk,
        num_rounds=config.num_rounds,
        rounds_per_chunk=config.num_rounds // config.num_evals,
        label=label,
        directory=folder.directory(label, (stacked, steps, keys)),
        progress=folder.progress,
    )
    ended = run.info.ended is not None and bool(run.info.ended[..., -1].all())
    if int(run.rounds.max()) < config.num_rounds and not ended:
        raise KeyboardInterrupt
    return run


def _own(task: Any) -> dict[str, Any]:
    """The leaves in which the tasks differ."""
    if isinstance(task, tele.tasks.Classification):
        return {name: getattr(task, name) for name in ("index", "sizes", "weights")}
    return {"rows": task.rows, "means": task.means}


def written_down(net: tele.Network, num_nodes: int, sends: Any) -> tele.Network:
    """The same network as tables: networks of any kinds can be stacked then."""
    i, j = jnp.divmod(jnp.arange(num_nodes**2), num_nodes)
    shape = (num_nodes, num_nodes)
    link = net.links.between(i, j)
    links = tele.network.matrices(*(np.asarray(part).reshape(shape) for part in link))
    seconds = jnp.broadcast_to(net.compute.seconds, (num_nodes,))
    return tele.Network(links, tele.network.constant(seconds), sends=sends)


def clocks(
    build: Build, networks: Any, num_nodes: int, keys: jax.Array, num_rounds: int
) -> tuple[np.ndarray, np.ndarray]:
    """When every round ends, and bytes sent up to it, float64[networks, seeds, rounds].

    Args:
      build: step size to algorithm.
      networks: one tree of networks, leaves [networks, ...], for models of ``BYTES``.
      num_nodes: n.
      keys: of the runs.
      num_rounds: how many.
    """

    def one(net: Any, key: jax.Array) -> Any:
        timed = tele.Timed(build(0.0), net)
        still = tele.network.Still(num_nodes)
        zero = jnp.float32(0.0)
        run = tele.simulate(
            timed, still, zero, key, num_rounds=num_rounds, observe=_nothing
        )
        return run.info

    over_seeds = jax.vmap(one, (None, 0))
    info = jax.vmap(over_seeds, (0, None))(networks, keys)
    sent = np.cumsum(np.asarray(info.bytes, np.float64), axis=-1)
    return tele.metrics.elapsed(info), sent


def _nothing(slots: Any, task: Any) -> tele.Metrics:
    del slots, task
    return {}
