"""What a long run tells while it goes on, and when it is over."""

import contextlib
import logging
import sys
import time
from typing import Any

import jax
import numpy as np

from tele_jax import processes
from tele_jax._extras import import_extra
from tele_jax.compilations import count_compilations
from tele_jax.metrics import elapsed
from tele_jax.run import Run

with contextlib.suppress(ImportError):  # not on Windows
    import resource

tqdm = import_extra("driver", "tqdm.auto", "experiments").tqdm

_SECONDS_BETWEEN_LINES = 30.0
"""In a log, where nobody sees a bar move."""


def new_log(name: str) -> logging.Logger:
    """A logger of which people see the warnings, those of the first process."""
    log = logging.Logger(name)
    if not processes.is_first():
        log.addHandler(logging.NullHandler())
        return log
    shown = logging.StreamHandler()
    shown.setLevel(logging.WARNING)
    log.addHandler(shown)
    return log


class Progress:
    """A bar on a terminal or in a notebook, lines in a log; and what the run took."""

    def __init__(self, label: str, num_rounds: int, *, shown: bool) -> None:
        self._label, self._num_rounds, self._shown = label, num_rounds, shown
        self._bar: Any = None
        self._diverged_slots = ""
        self._began = time.monotonic()
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "Progress":
        self._compiled = self._open.enter_context(count_compilations())
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        if self._bar is not None:
            self._bar.close()

    def begin(self, num_done: int) -> None:
        """Show how far the run is before it goes on."""
        live = sys.stderr.isatty() or tqdm.__name__ == "tqdm_notebook"
        self._bar = tqdm(
            total=self._num_rounds,
            initial=num_done,
            desc=self._label,
            unit="round",
            dynamic_ncols=live,
            disable=not self._shown,
            file=sys.stderr if live else _Lines(),
            mininterval=0.1 if live else _SECONDS_BETWEEN_LINES,
        )

    def update(self, chunk: Run, num_done: int) -> None:
        """Show one more chunk."""
        if not self._diverged_slots and not np.isfinite(chunk.info.loss).all():
            self._diverged_slots = _diverged_slots(chunk)
        self._bar.set_postfix(_summary(chunk), refresh=False)
        self._bar.update(num_done - self._bar.n)

    def end(self, run: Run, record: Any) -> None:
        """Say what a user would otherwise overlook, and what the run took."""
        self._bar.close()
        name = f"{self._label}: " if self._label else ""
        done = record.num_done
        if nobody_is_left(run) and run.info.loss.size:
            record.log.warning(f"{name}{_since_when(run)}.")
        elif record.stopped:
            record.log.warning(f"{name}stopped by its rule after {done} rounds.")
        elif done < self._num_rounds:
            record.log.warning(
                f"{name}interrupted after {done} of {self._num_rounds} rounds."
            )
        diverged = ~np.isfinite(np.asarray(run.info.loss))
        if diverged.any():
            runs = diverged.any(axis=-1)
            first = int(diverged.reshape(-1, diverged.shape[-1]).any(axis=0).argmax())
            # Of a sweep over step sizes some are meant to be too large.
            advice = "" if runs.all() else ", unless it is one of several tried"
            record.log.warning(
                f"{name}{runs.sum()} of {runs.size} runs diverged (the loss is not "
                f"finite from round {first} on{self._diverged_slots}); try a smaller "
                f"step size{advice}."
            )
        record.log.info(self._costs())
        if self._shown:
            tqdm.write(f"{name}{self._costs()}", file=sys.stderr)

    def _costs(self) -> str:
        """Wall time and peak memory, as far as the platform tells."""
        seconds = time.monotonic() - self._began
        parts = [f"{seconds:.1f} s, {sum(self._compiled):.1f} s of it compiling"]
        if (used := peak_of_host()) is not None:
            parts.append(f"at most {used / 2**30:.2f} GiB of host memory")
        stats = [device.memory_stats() or {} for device in jax.local_devices()]
        peak = max(one.get("peak_bytes_in_use", 0) for one in stats)
        if peak:
            parts.append(f"{peak / 2**30:.2f} GiB of a device's")
        return ", ".join(parts)


def peak_of_host() -> int | None:
    """The most bytes that this process has had so far; None: its system is silent."""
    if "resource" not in globals():
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


class _Lines:
    """The standard error stream for a bar that writes a line at a time."""

    def write(self, text: str) -> None:
        """One line, without the return that begins it."""
        if text := text.strip("\r\n "):
            print(text, file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Lines are flushed already."""


def nobody_is_left(run: Run) -> bool:
    """Whether a run, or all runs of a batch, can never go on."""
    ended = run.info.ended
    return ended is not None and bool(np.asarray(ended)[..., -1:].all())


def _since_when(run: Run) -> str:
    """In rounds, and in simulated time where there are clocks."""
    ended = np.asarray(run.info.ended)
    of_all = np.all(ended.reshape(-1, ended.shape[-1]), axis=0)
    words = f"nothing is left from round {int(np.argmax(of_all))} on"
    if run.info.seconds is not None:
        seconds = elapsed(run.info).max()
        words += f" ({seconds:.6g} s of simulated time)"
    return words


def _summary(run: Run) -> dict[str, str]:
    shown = {"round_loss": np.asarray(run.info.loss)[..., -1]}
    if "accuracy" in run.metrics:
        shown["accuracy"] = np.asarray(run.metrics["accuracy"])[..., -1]
    if hasattr(run.state, "now"):  # of a Timed algorithm
        shown["simulated_s"] = np.asarray(run.state.now.high)
    # Runs that diverged are told of at the end; here they would hide the others.
    finite = {name: values[np.isfinite(values)] for name, values in shown.items()}
    return {
        name: f"{values.mean():.4g}" if values.size else "nan"
        for name, values in finite.items()
    }


def _diverged_slots(chunk: Run) -> str:
    """Which models of a run are not finite at the end of a chunk; of a batch, nothing.

    Where gossip reaches all slots soon, all are.
    """
    if np.ndim(chunk.rounds) > 1:
        return ""
    leaves = jax.tree.leaves(processes.fetch(chunk.state.params))
    bad = [~np.isfinite(leaf).reshape(len(leaf), -1).all(axis=1) for leaf in leaves]
    slots = np.flatnonzero(np.any(bad, axis=0))
    if not len(slots):
        return ""
    told = ", ".join(map(str, slots[:5])) + (", …" if len(slots) > 5 else "")
    return (
        f", at round {int(np.max(chunk.rounds))} the models of {len(slots)} of "
        f"{len(leaves[0])} slots are not: {told}"
    )
