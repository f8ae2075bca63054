"""Measure the package against its targets, and against others that do the same work.

Prints a table for every section and one of all ratios, and writes them to
results/benchmark, the ratios as a Parquet file and as a figure with their limits, too.
Ratios are medians over pairs of programs that are run in turns; the times beside them
depend on what else the machine does.

    python -m experiments.benchmark
    python -m experiments.benchmark --only gossip sweep
    python -m experiments.benchmark --peers DIR --torch-python venv/bin/python

DIR holds scripts that do the work of the first section in other ways; without it, only
the programs that one would write first in JAX are compared.
"""

import functools
import sys

from experiments import command, machine, results
from experiments.benchmarks import measure, summary, teleporting
from experiments.benchmarks.measure import Record
from experiments.benchmarks.sections import SECTIONS, Config
from experiments.results import Folder


def check(config: Config) -> str:
    """Refuse what cannot run, before any work, and name the folder."""
    for name in ("rounds", "repeats", "passes", "pairs", "few_nodes", "many_nodes"):
        if (value := getattr(config, name)) < 1:
            raise ValueError(f"got {name}={value}, expected at least 1.")
    for name in ("nodes", "growing_nodes"):
        if not (value := getattr(config, name)) or min(value) < 1:
            raise ValueError(f"got {name}={value}, expected numbers of at least 1.")
    if min(config.few_nodes, *config.growing_nodes) < teleporting.MOST_SLOTS:
        raise ValueError(
            f"got few_nodes={config.few_nodes}, growing_nodes={config.growing_nodes}, "
            f"expected at least {teleporting.MOST_SLOTS}, which are active."
        )
    for name in ("peers", "torch_python"):
        if (path := getattr(config, name)) is not None and not path.exists():
            raise ValueError(f"got {name}={path}, which does not exist.")
    if config.only == ("deep",) and config.torch_python is None:
        raise ValueError("got only=deep, expected torch_python, too.")
    return "-".join(config.only) or "all"


def measure_all(config: Config, folder: Folder) -> None:
    """Measure, print, write."""
    environment = measure.environment()
    text = [measure.markdown([environment])]
    print(*text)
    tables = {}
    for title, (section, run) in SECTIONS.items():
        if config.only and section not in config.only:
            continue
        print(f"measuring {section} ...", file=sys.stderr)
        measured = functools.partial(run, config)
        tables[title] = folder.part(title, list[Record], measured)
        text.append(f"{title}\n\n{measure.markdown(tables[title])}")
        print(f"\n{text[-1]}", flush=True)
    written = {"environment": environment, "tables": tables}
    results.write_json(folder.path / "tables.json", written)
    if ratios := summary.rows(tables):
        text.append(f"All ratios\n\n{measure.markdown(ratios)}")
        print(f"\n{text[-1]}")
        results.write_table(folder.path / "ratios.parquet", ratios)
        if drawn := summary.figure(ratios):
            drawn.savefig(folder.path / "ratios.png", dpi=150)
    (folder.path / "tables.md").write_text("\n\n".join(text) + "\n")


def main() -> None:
    """Entry point: flags are the fields of ``Config``."""
    machine.use_all_cores()  # as the baselines do, with threads
    command.run("benchmark", Config, check, measure_all, __doc__)


if __name__ == "__main__":
    main()
