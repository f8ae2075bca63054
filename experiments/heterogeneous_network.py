"""Who is fastest in seconds: methods on networks whose links differ, and fail.

The setting of Section 5.3 of the paper, as we read it: nodes stand on a ring of good
links, and a message between any other two takes τ times as long. All methods are
trained on images split by Dirichlet(α) and on least squares, each with its best step
size; simulated clocks then tell what a round takes. The same runs are timed on three
real networks. A last part lets nodes crash.

    python -m experiments.heterogeneous_network --preset quick
    python -m experiments.heterogeneous_network --run results/network --resume
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import tele_jax as tele
from experiments import command, network_report, network_runs
from experiments.network_figures import Crashed, Timings, Trained
from experiments.network_presets import PRESETS, RTT_MS
from experiments.results import Folder
from tele_jax import network

POLICIES: dict[str, tuple[Any, ...]] = {
    "quick": ("respawn",),
    "full": ("respawn", "stale", "shrink"),
}
DIM = 50
"""Parameters of the least squares."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the study."""

    preset: Literal["quick", "full"] = "full"
    """quick: under three minutes on two cores; full: about half an hour. It decides the
    settings of which the default is None: alphas 0.1 10 (full: 0.1 0.3 1 10), 2 seeds
    (4), 120 rounds (600), 12 evaluations (30), step sizes 0.2 0.6 (0.2 0.4 0.8 1.6),
    crash rates 0 0.1 0.4 (0 0.02 0.05 0.1 0.2 0.4). quick leaves out the exponential
    graph, and two of the policies for lost tokens."""
    dataset: str = "digits"
    """digits (inside scikit-learn) or fashion_mnist (from $TELE_JAX_DATA, or
    downloaded)."""
    model: str = "mlp"
    """softmax, mlp or lenet."""
    num_nodes: int = 25
    """n, the number of nodes."""
    num_active: int = 8
    """k, the number of nodes that TELEPORTATION activates in a round."""
    batch_size: int = 8
    """Examples per node and round."""
    slowdowns: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0)
    """τ: how much longer a message takes between nodes that are no neighbours."""
    seconds_per_step: float = 0.1
    """Of a local step; a model takes one second over a good link. Our choice."""
    sends: Literal["parallel", "serial"] = "serial"
    """Whether a node sends all its messages at once or one after the other."""
    alphas: tuple[float, ...] | None = None
    """Concentrations of the Dirichlet split; small values give few labels per node."""
    rates: tuple[float, ...] | None = None
    """Step sizes to choose from, for every method and α, on validation images."""
    crash_rates: tuple[float, ...] | None = None
    """Probabilities that a node is down, in the part on failures."""
    outage: int = 10
    """Rounds for which a node that crashes is down."""
    num_seeds: int | None = None
    """Runs of every method."""
    num_rounds: int | None = None
    """Rounds of every method."""
    num_evals: int | None = None
    """Evaluations of a run; divides num_rounds."""
    target: float = 0.95
    """What a method has to reach: this share of the best final accuracy at that α."""
    model_megabytes: float = 36.9
    """What a model weighs on the real networks; the default is VGG-11's."""
    validation_fraction: float = 0.2
    """Share of the training images held out to choose the step sizes."""
    seed: int = 0
    """Decides the split of the data and every run."""


def complete(config: Config) -> Config:
    """The settings with what the preset decides."""
    quick = config.preset == "quick"
    decided: dict[str, Any] = {
        "alphas": (0.1, 10.0) if quick else (0.1, 0.3, 1.0, 10.0),
        "rates": (0.2, 0.6) if quick else (0.2, 0.4, 0.8, 1.6),
        "crash_rates": (0.0, 0.1, 0.4) if quick else (0.0, 0.02, 0.05, 0.1, 0.2, 0.4),
        "num_seeds": 2 if quick else 4,
        "num_rounds": 120 if quick else 600,
        "num_evals": 12 if quick else 30,
    }
    given = dataclasses.asdict(config)
    missing = {name: value for name, value in decided.items() if given[name] is None}
    return dataclasses.replace(config, **missing)


def check(config: Config) -> str:
    """Refuse what cannot run, before any work, and name the folder."""
    full: Any = complete(config)
    for name in ("num_seeds", "num_evals", "num_rounds", "outage", "batch_size"):
        if (value := getattr(full, name)) < 1:
            raise ValueError(f"got {name}={value}, expected at least 1.")
    if full.num_rounds % full.num_evals:
        raise ValueError(
            f"num_evals={full.num_evals} must divide num_rounds={full.num_rounds}."
        )
    if not 1 <= full.num_active <= full.num_nodes:
        raise ValueError(
            f"got num_active={full.num_active}, expected 1 <= num_active <= num_nodes "
            f"= {full.num_nodes}."
        )
    for name in ("alphas", "rates", "slowdowns", "crash_rates"):
        values = np.asarray(getattr(full, name))
        if not values.size or not np.isfinite(values).all() or (values < 0).any():
            raise ValueError(f"got {name}={values.tolist()}, expected numbers >= 0.")
    if min(full.slowdowns) < 1:
        raise ValueError(f"got slowdowns={full.slowdowns}, expected at least 1.")
    if max(full.crash_rates) >= 1:
        raise ValueError(f"got crash_rates={full.crash_rates}, expected below 1.")
    if not 0 < full.target <= 1 or full.model_megabytes <= 0:
        raise ValueError(
            f"got target={full.target} and model_megabytes={full.model_megabytes}, "
            "expected 0 < target <= 1 and a weight above 0."
        )
    if full.num_nodes < len(RTT_MS) or min(full.alphas) <= 0 or min(full.rates) <= 0:
        raise ValueError(
            f"got num_nodes={full.num_nodes}, alphas={full.alphas} and rates="
            f"{full.rates}, expected a node in each of {len(RTT_MS)} regions, and "
            "numbers above 0."
        )
    networks(full)  # refuses costs that are none
    return f"{config.preset}-{config.dataset}-n{config.num_nodes}"


def chosen_methods(config: Any) -> dict[str, network_runs.Build]:
    """Of the preset."""
    found = network_runs.methods(config.num_nodes, config.num_active)
    if config.preset == "quick":
        del found["DSGD, exponential"]
    return found


def train(config: Any, folder: Folder) -> dict[str, Trained]:
    """Every method on all images and on least squares, with its best step sizes."""
    validation, tasks = network_runs.image_tasks(config)
    observe = jax.tree_util.Partial(network_runs.accuracies, validation)
    squares = tele.tasks.least_squares(
        jax.random.key(config.seed), num_nodes=config.num_nodes, dim=DIM, noise=1.0
    )

    def image_start(key: jax.Array) -> Any:
        return tasks[0].model.init(key, tasks[0].inputs[:1])

    found = {}
    for name, build in chosen_methods(config).items():
        go = functools.partial(network_runs.train, build, rates=config.rates)
        images = go(tasks, image_start, observe=observe, config=config,
                    label=f"{name}, images", folder=folder)  # fmt: skip
        quadratic = go([squares], _ones, observe=network_runs.losses, config=config,
                       label=f"{name}, least squares", folder=folder)  # fmt: skip
        found[name] = Trained(
            np.asarray(images.rounds[0, 0, 0]),
            *_best(images, config.rates),
            *_best(quadratic, config.rates),
        )
    return found


def _ones(key: jax.Array) -> jax.Array:
    del key
    return jnp.ones(DIM)


def _best(run: tele.Run, rates: Any) -> tuple[np.ndarray, np.ndarray]:
    """Curves [tasks, seeds, e] at the step sizes [tasks] with the best last quarter."""
    score = np.asarray(run.metrics["score"], np.float64)
    late = score[..., -max(1, score.shape[-1] // 4) :].mean(axis=(2, 3))
    chosen = np.where(np.isfinite(late), late, -np.inf).argmax(axis=1)
    curves = np.asarray(run.metrics["reported"], np.float64)
    return curves[np.arange(len(chosen)), chosen], np.asarray(rates)[chosen]


def time(config: Any) -> dict[str, Timings]:
    """Clocks of every method on every network."""
    n = config.num_nodes
    written = networks(config)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *written)
    keys = network_runs.run_keys(config.seed, config.num_seeds)
    return {
        name: Timings(*network_runs.clocks(build, stacked, n, keys, config.num_rounds))
        for name, build in chosen_methods(config).items()
    }


def networks(config: Any) -> list[tele.Network]:
    """One for every τ, nodes on a ring of good links; then the real ones."""
    n = config.num_nodes
    ring = network.neighbours_of(tele.graphs.ring(n))
    factor = network_runs.BYTES / (1e6 * config.model_megabytes)
    found = [
        tele.Network(
            network.preferred(ring, slowdown, bandwidth=network_runs.BYTES),
            network.constant(config.seconds_per_step),
        )
        for slowdown in config.slowdowns
    ]
    found += [preset.build(n, factor) for preset in PRESETS]
    return [network_runs.written_down(net, n, config.sends) for net in found]


def failing_methods(
    config: Any, trained: dict[str, Trained]
) -> dict[str, network_runs.Build]:
    """Name to the probability that a node is down to algorithm."""
    n, k = config.num_nodes, config.num_active
    rings = (tele.graphs.ring(n), tele.graphs.ring(k))
    rates = [
        trained[name].rates[0] for name in ("DSGD, ring", f"TELEPORTATION, ring, k={k}")
    ]

    def outages(probability: Any) -> tele.Failures:
        key = jax.random.key(config.seed)
        return tele.Failures(network.outages(key, probability, config.outage))

    def teleport(policy: Any, p: Any) -> Any:
        return tele.UnreliableTeleportation(
            rings[1], rates[1], outages(p), lost_token=policy
        )

    return {
        "DSGD, ring": lambda p: tele.UnreliableDSGD(rings[0], rates[0], outages(p)),
        **{
            f"TELEPORTATION, {policy}": functools.partial(teleport, policy)
            for policy in POLICIES[config.preset]
        },
    }


def crash(config: Any, trained: dict[str, Trained], folder: Folder) -> list[Crashed]:
    """Final accuracy against the crash rate, at the first α and the best step size."""
    validation, tasks = network_runs.image_tasks(config)
    found = []
    for name, build in failing_methods(config, trained).items():
        run = network_runs.train(
            build,
            tasks[:1],
            lambda key: tasks[0].model.init(key, tasks[0].inputs[:1]),
            config.crash_rates,  # in the place of step sizes
            jax.tree_util.Partial(network_runs.accuracies, validation),
            config,
            f"{name}, crashes",
            folder,
        )
        reported = np.asarray(run.metrics["reported"], np.float64)[0]
        lost = np.asarray(run.info.lost, np.float64)[0].sum(axis=-1)
        drift = np.asarray(run.info.drift, np.float64)[0].mean(axis=-1)
        found.append(Crashed(name, reported[..., -1], lost / config.num_active, drift))
    return found


def study(config: Config, folder: Folder) -> None:
    """Train, time, let nodes crash; write tables and figures."""
    full = complete(config)
    trained = train(full, folder)
    timings = folder.part("clocks", dict[str, Timings], lambda: time(full))
    crashed = crash(full, trained, folder)
    network_report.write(folder.path, full, trained, timings, crashed)


def main() -> None:
    """Entry point: flags are the fields of ``Config``."""
    command.run("heterogeneous_network", Config, check, study, __doc__)


if __name__ == "__main__":
    main()
