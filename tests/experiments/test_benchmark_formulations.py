"""The benchmark's table of formulations: all do the same work."""

import chex
import jax
import numpy as np

from experiments.benchmarks import convolving, formulating, measure, work


def test_every_formulation_is_measured_on_every_layer(monkeypatch):
    done = []

    def alternate(first, second, pairs):
        done.append(jax.device_get((first(), second())))
        return np.tile([2.0, 1.0], (pairs, 1))

    monkeypatch.setattr(convolving, "LAYERS", {"one": (4, 3, 5), "two": (6, 2, 2)})
    monkeypatch.setattr(work, "BATCH_SIZE", 2)
    monkeypatch.setattr(measure, "alternate", alternate)
    rows = formulating.formulating(num_slots=2, pairs=3)
    names = ["split", "patches", "winograd", "grouped"]
    found = [(row["layer"], row["formulation"]) for row in rows]
    assert found == [(layer, name) for layer in ("one", "two") for name in names]
    assert {(row["ratio"], row["met"]) for row in rows} == {(2.0, "yes")}
    for named, chosen in done:
        chex.assert_trees_all_close(named, chosen, rtol=1e-4)
    kernels, _ = done[0][0]
    assert kernels.shape == (2, 3, 3, 3, 5)
    assert np.any(kernels[0] != kernels[1])
