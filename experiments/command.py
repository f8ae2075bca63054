"""What every study does at the command line."""

import _thread
import contextlib
import dataclasses
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import jax
import tyro

from experiments import results
from experiments.results import Folder

Config = TypeVar("Config")

_LARGEST_SEED = 2_000_000_000
"""Others are derived from it, and 32 bits hold them."""


def default(words: str) -> Any:
    """What ``--help`` says of a default that is not a value."""
    return tyro.conf.arg(help_behavior_hint=f"(default: {words})")


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags that all studies have."""

    results: Annotated[Path | None, default("results/STUDY")] = None
    """Where this run gets a new folder of its own."""
    run: Annotated[Path | None, default("a new one")] = None
    """The very folder of this run."""
    resume: bool = False
    """Go on with what is in --run, if there is anything: parts that are done are read,
    the one that was interrupted goes on from its checkpoint, and the tables and figures
    are drawn anew."""
    force: bool = False
    """Throw away what is in --run."""
    override: Annotated[tuple[str, ...], default("none")] = ()
    """Settings that may differ from those that the resumed run was begun with, such as
    recipe.slots_at_once; code, device or a package may be among them. Safe is what
    changes no number."""
    progress: Annotated[bool, default("they are shown")] = True
    """Hide the progress bars."""
    device: Literal["best", "cpu", "gpu", "tpu"] = "best"
    """Where to compute."""
    debug: bool = False
    """Show the traceback of what went wrong."""


def run(
    name: str,
    config: type[Config],
    check: Callable[[Config], str],
    study: Callable[[Config, Folder], Any],
    description: str | None,
    resolve: Callable[[Config], Config] | None = None,
) -> None:
    """Run a study whose flags are the fields of its ``Config``, and ``Options``.

    Bad input is one line that begins with the study's name, without a traceback, and
    the exit code 2; after Ctrl-C it is 130, after SIGTERM 143.

    Args:
      name: of the study.
      config: its settings.
      check: refuses what cannot run, before any work, and names the folder of a run.
      study: does the work, and writes to the folder.
      description: what ``--help`` says first.
      resolve: writes out what flags leave to a preset.
    """
    given, options = _parse(name, config, description)
    settings = resolve(given) if resolve else given
    place = None
    try:
        _use(options.device)
        _check_seed(settings)
        place = _place(name, options, check(settings))
        with (
            _terminable(),
            _never_ignored(),
            results.opened(
                place,
                settings,
                resume=options.resume,
                force=options.force,
                override=options.override,
                progress=options.progress,
            ) as folder,
        ):
            study(settings, folder)
        print(f"Written to {place}")
    except (ValueError, OSError, MemoryError) as error:
        if options.debug:
            raise
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stopped:
        print(f"{name}: interrupted; {_kept(place, options)}.", file=sys.stderr)
        sys.exit(143 if isinstance(stopped, _Terminated) else 130)


def _kept(place: Path | None, options: Options) -> str:
    """What there is after an interruption, and how to go on with it."""
    if place is None or not place.exists():
        return "nothing was written"
    instead = "--force" if options.force else "--results"
    replaced = options.force or options.results is not None
    return (
        f"go on with the same flags and --run {place} --resume"
        f"{f', in place of {instead}' if replaced else ''}"
    )


class _Terminated(KeyboardInterrupt):
    """SIGTERM: a Ctrl-C of another name."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, as clusters send it, ends a study in words."""

    def end(*_: Any) -> None:
        raise _Terminated

    before = signal.getsignal(signal.SIGTERM)
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or before in (signal.SIG_IGN, None):
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _never_ignored() -> Iterator[None]:
    """A signal is heard even where Python drops what it raises.

    It does so while it collects garbage, when a hook of jax's runs, again and again
    while a program is traced: "Exception ignored", and the study would go on.
    """

    def hook(ignored: Any) -> None:
        if not isinstance(ignored.exc_value, KeyboardInterrupt):
            before(ignored)
            return
        ended = isinstance(ignored.exc_value, _Terminated)
        number = signal.SIGTERM if ended else signal.SIGINT
        # Later, as what is raised in here is dropped as well.
        threading.Timer(0.05, _thread.interrupt_main, (number,)).start()

    before, sys.unraisablehook = sys.unraisablehook, hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _parse(
    name: str, config: type[Config], description: str | None
) -> tuple[Config, Options]:
    """The settings of the study and those of all studies, without prefixes."""
    both = dataclasses.make_dataclass(
        name, [("study", config), ("run", Options)], frozen=True
    )
    flags = tyro.conf.configure(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    program = f"python -m experiments.{name}"
    parsed: Any = tyro.cli(flags(both), prog=program, description=description)
    return parsed.study, parsed.run


def _check_seed(settings: Any) -> None:
    """The study's seed, if it has one, is a number that all generators take."""
    if not 0 <= (seed := getattr(settings, "seed", 0)) <= _LARGEST_SEED:
        raise ValueError(f"got seed={seed}, expected 0 to {_LARGEST_SEED}.")


def _use(device: str) -> None:
    """Compute there and nowhere else, or say that it is not there."""
    if device == "best":
        return
    settings: Any = jax.config
    before = settings.jax_platforms
    try:
        jax.config.update("jax_platforms", device)
        if jax.devices(device)[0] != jax.devices()[0]:
            raise RuntimeError("jax computes somewhere else already")
    except RuntimeError as error:
        jax.config.update("jax_platforms", before)
        here = ", ".join(sorted({found.platform for found in jax.devices()}))
        raise ValueError(f"got device={device}, expected one of {here}.") from error


def _place(name: str, options: Options, label: str) -> Path:
    """The folder of this run."""
    if options.override and not options.resume:
        raise ValueError("got --override, which is for a run that goes on: --resume.")
    if options.run is None:
        if options.resume or options.force:
            raise ValueError("--resume and --force need the folder: add --run FOLDER.")
        return results.new_folder(options.results or Path("results") / name, label)
    if options.results is not None:
        raise ValueError("got --results and --run, expected one of them.")
    if options.resume and options.force:
        raise ValueError("got --resume and --force, expected one of them.")
    return options.run
