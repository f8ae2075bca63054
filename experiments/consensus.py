"""Every topology at once: how fast gossip averages, in rounds and in messages.

All topologies of ``tele_jax.graphs`` start from the same random numbers. The study
prints a table of what they cost and how fast they mix, and checks that every graph
that averages exactly does so after the predicted number of rounds and not before.

    python -m experiments.consensus
    python -m experiments.consensus --sizes 16 --num-rounds 100
"""

import dataclasses

import numpy as np
from tqdm.auto import tqdm

from experiments import command, consensus_report
from experiments.consensus_graphs import Entry, catalogue
from experiments.results import Folder
from tele_jax import analysis

MAX_SIZE = 200
"""Most slots of a graph that is drawn."""
ROUNDING = 1e-5
"""A relative error that is rounding of float32 weights."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the study; the defaults take a few minutes on a laptop."""

    sizes: tuple[int, ...] = (25, 32, 100)
    """Numbers k of slots."""
    epsilon: float = 1e-3
    """The error of the table's last column: in how many rounds it is certain."""
    num_rounds: int = 60
    """Rounds of gossip of every topology."""
    seed: int = 0
    """Decides the random graphs and the numbers to average."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one topology did."""

    name: str
    entry: Entry
    summary: analysis.Summary
    trajectory: analysis.Trajectory
    """Of at least ``num_rounds`` rounds, and all until an exact average."""


def study(config: Config, name: str, entry: Entry) -> Outcome:
    """Gossip, measure, and check what was predicted.

    Raises:
      ValueError: an exact average was missed, or came early.
    """
    summary = analysis.summary(entry.topology, config.epsilon)
    rounds = max(config.num_rounds, summary.exact_after or 0)
    trajectory = analysis.consensus_errors(entry.topology, rounds, config.seed)
    outcome = Outcome(name, entry, summary, trajectory)
    check_exact(outcome)
    return outcome


def check_exact(outcome: Outcome) -> None:
    """A finite-time graph reaches rounding error when it should, and not before."""
    summary, exact = outcome.summary, outcome.summary.exact_after
    who = f"{outcome.name} on {summary.num_slots} slots should average exactly"
    if exact is None:
        if outcome.entry.exact:
            raise ValueError(
                f"{who} within a period of {summary.period} rounds, but does not; its "
                "matrices are wrong."
            )
        return
    errors = outcome.trajectory.errors
    reached = np.flatnonzero(errors < ROUNDING)
    if not len(reached) or reached[0] != exact:
        first = f"after {reached[0]}" if len(reached) else f"not in {len(errors) - 1}"
        raise ValueError(
            f"{who} after {exact} rounds, but the error is {errors[exact]:.2g} then "
            f"and below {ROUNDING:g} {first} rounds; the prediction or the matrices "
            "are wrong."
        )


def check(config: Config) -> str:
    """Refuse what cannot run, before any work, and name the folder."""
    if not config.sizes or not all(2 <= size <= MAX_SIZE for size in config.sizes):
        raise ValueError(
            f"got sizes={config.sizes}, expected numbers of 2 to {MAX_SIZE} slots."
        )
    if len(set(config.sizes)) < len(config.sizes):
        raise ValueError(f"got sizes={config.sizes}, expected each size once.")
    if not 0 < config.epsilon < 1:
        raise ValueError(f"got epsilon={config.epsilon}, expected 0 < epsilon < 1.")
    if config.num_rounds < 1:
        raise ValueError(f"got num_rounds={config.num_rounds}, expected at least 1.")
    return f"k{'-'.join(str(size) for size in config.sizes)}"


def run_study(config: Config, folder: Folder) -> None:
    """Study all topologies of all sizes and write their tables and figures."""
    for size in config.sizes:
        entries, remarks = catalogue(size, config.seed)
        with tqdm(
            entries.items(),
            desc=f"{size} slots",
            dynamic_ncols=True,
            disable=not folder.progress,
        ) as bar:
            outcomes = [study(config, *item) for item in bar]
        text = consensus_report.text(config, size, outcomes, remarks)
        print(text)
        consensus_report.write(folder.path / f"k{size}", config, outcomes, text)


def main() -> None:
    """Entry point: flags are the fields of ``Config``."""
    command.run("consensus", Config, check, run_study, __doc__)


if __name__ == "__main__":
    main()
