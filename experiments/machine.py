"""The devices that a study computes on, and the memory they have."""

import contextlib
import os
from pathlib import Path
from typing import Any

import jax

import tele_jax as tele
from experiments.benchmarks import measure

_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Of a Linux container, of control groups in version 2 and 1."""


def use_all_cores() -> None:
    """Make every core of the CPU a device of its own, which keeps all of them busy."""
    with contextlib.suppress(RuntimeError):  # where something has computed before
        jax.config.update("jax_num_cpu_devices", measure.num_cores())


def device() -> jax.Device:
    """The device of ``--device``, or the best."""
    return jax.devices()[0]


def num_sharing(num_slots: int) -> int:
    """How many devices take some of the slots."""
    return min(num_slots, jax.device_count())


def devices_share(num_slots: int) -> contextlib.AbstractContextManager[Any]:
    """Every device takes some of the slots."""
    return jax.set_mesh(tele.slot_mesh(num_sharing(num_slots)))


def memory_of(device: jax.Device) -> int:
    """Bytes that the device may use, of a CPU its share of the machine's memory.

    Of a container what it may use: its control group says so.
    """
    found = device.memory_stats() or {}
    if "bytes_limit" in found:
        return int(found["bytes_limit"])
    of_machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # there is none
            of_machine = min(of_machine, int(limit.read_text()))
    # Each of its devices holds the data, and works on slots of its own.
    return of_machine // len(jax.devices(device.platform))


def bytes_told(number: int) -> str:
    """For people.

    >>> bytes_told(1_780_000_000), bytes_told(17_800_000)
    ('1.78 GB', '17.8 MB')
    """
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.3g} MB"
