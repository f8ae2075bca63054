"""What a run holds does not grow with its rounds, nor with how often it goes on."""

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest

from tele_jax.compilations import count_compilations
from tele_jax.driver import drive
from tele_jax.runs import RunDirectory
from tests import helpers
from tests.runs import cases

CONFIG = {"learning_rate": 0.05}


def _chunk(num_rounds, resume):
    return cases.chunk("teleportation", num_rounds, resume)


def _go_on(folder, num_rounds):
    directory = RunDirectory(folder / "run", CONFIG, data=cases.task(3))
    return drive(
        _chunk,
        num_rounds=num_rounds,
        rounds_per_chunk=4,
        rounds_per_checkpoint=4,
        directory=directory,
        progress=False,
    )


def _megabytes():
    return psutil.Process().memory_info().rss / 2**20


def _files_and_threads():
    return psutil.Process().num_fds() + psutil.Process().num_threads()


def test_nothing_grows_over_many_cycles(tmp_path):
    grown = []
    for cycle in range(1, 9):
        with count_compilations() as compiled:
            _go_on(tmp_path, 4 * cycle)
        grown.append((len(jax.live_arrays()), _files_and_threads(), len(compiled)))
    arrays, files, programs = np.array(grown[3:]).T
    assert len({*arrays}) == 1
    assert files.max() <= files.min() + 2
    assert not programs.any()


@pytest.mark.slow
def test_memory_stays_flat_over_two_hundred_cycles(tmp_path):
    held = []
    for cycle in range(1, 201):
        _go_on(tmp_path, 4 * cycle)
        held.append(_megabytes())
    # TensorStore leaves about 0.05 MB a checkpoint; a small program takes more than 1.
    assert held[-1] - held[99] < 100 * 0.1


@pytest.mark.slow
@pytest.mark.parametrize("kept", [False, True])
def test_memory_stays_flat_over_a_hundred_thousand_rounds(tmp_path, kept):
    held = []

    def watch(_):
        on_devices = sum(array.nbytes for array in jax.live_arrays())
        held.append((_megabytes(), on_devices))

    directory = RunDirectory(tmp_path / "run", CONFIG) if kept else None
    drive(
        _chunk,
        num_rounds=100_000,
        rounds_per_chunk=100,
        directory=directory,
        callbacks=[watch],
        progress=False,
    )
    host, on_devices = np.array(held).T
    assert len({*on_devices[10:]}) == 1
    # The curves of a chunk are five small arrays: 2 to 10 kB. A program is over 1 MB.
    assert host[-1] - host[len(host) // 5] < 16


def test_the_models_of_a_run_are_not_kept_chunk_by_chunk(tmp_path):
    bytes_held = []

    def watch(_):
        bytes_held.append(sum(array.nbytes for array in jax.live_arrays()))

    def chunk(num_rounds, resume):
        task = helpers.quadratic(4, dim=1000)
        return helpers.four_slots(
            task=task, params=jnp.ones(1000), num_rounds=num_rounds, resume=resume
        )

    for directory in (None, RunDirectory(tmp_path / "run", CONFIG)):
        bytes_held.clear()
        drive(
            chunk,
            num_rounds=80,
            rounds_per_chunk=4,
            directory=directory,
            callbacks=[watch],
        )
        assert max(bytes_held[2:]) == min(bytes_held[2:])
