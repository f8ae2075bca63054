"""Runs as tables: every number is where it was, and what was spent adds up."""

import importlib
import sys

import jax
import numpy as np
import pytest
import xarray

import tele_jax as tele
from tele_jax import tables
from tests.runs_by_hand import by_hand

SEEDS, RATES = range(2), np.array([0.1, 0.2, 0.4])
LOSS = np.random.default_rng(0).random((2, 3, 4)).astype(np.float32)
SWEEP = by_hand({"loss": LOSS, "accuracy": LOSS / 2}, messages=7)


def test_costs_add_up():
    spent = tables.costs(by_hand({"loss": np.zeros(3)}, messages=5, num_slots=4))
    assert {name: values.tolist() for name, values in spent.items()} == {
        "rounds": [0, 10, 20],
        "gradients": [0, 40, 80],
        "messages": [0, 50, 100],
    }


def test_costs_of_failing_and_timed_runs_count_who_took_part():
    run = by_hand({"loss": np.zeros(2)}, seconds=0.5, bytes=2.0**31, active=3)
    spent = tables.costs(run)
    assert spent["gradients"].tolist() == [0, 30]
    assert spent["seconds"].tolist() == [0.0, 5.0]
    assert spent["bytes"].tolist() == [0.0, 10 * 2.0**31]


def test_messages_beyond_32_bits_are_counted():
    run = by_hand({"loss": np.zeros(3)}, messages=2**31 - 1)
    assert tables.costs(run)["messages"][-1] == 20 * (2**31 - 1)


def test_costs_of_a_simulated_run():
    task = tele.tasks.least_squares(jax.random.key(0), num_nodes=6, dim=2)
    method = tele.Teleportation(tele.graphs.ring(3), 0.1)
    run = tele.simulate(
        method, task, np.ones(2, "f4"), jax.random.key(0), num_rounds=4, eval_every=2
    )
    spent = tables.costs(run)
    assert spent["gradients"].tolist() == [0, 6, 12]
    sent = np.append(0, tele.metrics.messages_sent(run.info))
    assert spent["messages"].tolist() == sent[[0, 2, 4]].tolist()


def test_a_data_set_has_named_axes_and_the_numbers_of_the_sweep():
    found = tables.to_xarray(SWEEP, seed=SEEDS, rate=RATES)
    assert dict(found.sizes) == {"seed": 2, "rate": 3, "round": 4, "t": 30}
    assert found.loss.dims == ("seed", "rate", "round")
    assert float(found.loss.sel(seed=1, rate=0.2, round=20)) == LOSS[1, 1, 2]
    assert float(found.messages.isel(seed=0, rate=0).sel(round=30)) == 210
    assert found.round_messages.dims == ("seed", "rate", "t")
    np.testing.assert_array_equal(found.rate, RATES)


def test_a_frame_has_a_row_for_every_evaluation_and_goes_back():
    frame = tables.to_pandas(SWEEP, seed=SEEDS, rate=RATES)
    assert list(frame.columns) == [
        *("seed", "rate", "round", "gradients", "messages", "loss", "accuracy"),
    ]
    assert len(frame) == 24
    row = frame[(frame.seed == 1) & (frame.rate == 0.4) & (frame["round"] == 10)]
    assert row.loss.tolist() == [LOSS[1, 2, 1]]
    back = xarray.Dataset.from_dataframe(frame.set_index(["seed", "rate", "round"]))
    expected = tables.to_xarray(SWEEP, seed=SEEDS, rate=RATES)
    for name in ("loss", "accuracy", "gradients", "messages"):
        xarray.testing.assert_equal(back[name], expected[name])


def test_one_run_needs_no_names_and_vectors_get_columns():
    run = by_hand({"loss": np.zeros(3)})
    each = np.arange(6.0).reshape(3, 2)
    run = run.replace(metrics={"loss": run.metrics["loss"], "each": each})
    frame = tables.to_pandas(run)
    assert frame["each_1"].tolist() == [1.0, 3.0, 5.0]
    assert tables.to_xarray(run)["each"].dims == ("round", "each_0")


@pytest.mark.parametrize("convert", [tables.to_pandas, tables.to_xarray])
@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({}, r"got no axes \(none named\), expected axes of 2 × 3 values"),
        (
            {"seed": range(2)},
            r"got axes of 2 values \(seed\), expected axes of 2",
        ),
        ({"rate": RATES, "seed": SEEDS}, "got axes of 3 × 2 values"),
        ({"loss": SEEDS, "rate": RATES}, "got 'loss' as the name of an axis"),
        ({"gradients": SEEDS, "rate": RATES}, "got 'gradients' as the name of an axis"),
        ({"seed": 2, "rate": RATES}, "got axes of 3 values"),
        (
            {"seed": jax.random.split(jax.random.key(0), 2), "rate": RATES},
            "got seed of .*, expected a number or a word for every run",
        ),
    ],
)
def test_axes_that_do_not_fit_are_told(convert, axes, words):
    with pytest.raises(ValueError, match=f"{convert.__name__}: {words}"):
        convert(SWEEP, **axes)


def test_a_metric_with_the_name_of_a_cost_is_told():
    run = by_hand({"messages": np.zeros(3)})
    with pytest.raises(ValueError, match="got 'messages' as the name of an axis or a"):
        tables.to_pandas(run)


def test_what_is_not_installed_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install \"tele_jax\[tables\]\""):
        tables.to_pandas(SWEEP, seed=SEEDS, rate=RATES)


@pytest.mark.parametrize(
    ("what", "needs", "extra"),
    [
        ("plot", "matplotlib", "plot"),
        ("driver", "tqdm.auto", "experiments"),
        ("runs", "filelock", "experiments"),
    ],
)
def test_what_is_not_installed_is_told_where_it_is_imported(
    monkeypatch, what, needs, extra
):
    for name in [*sys.modules]:
        if name.startswith((f"tele_jax.{what}", "tele_jax._progress", needs)):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, needs, None)
    words = rf"^{what}: {needs} .* pip install \"tele_jax\[{extra}\]\""
    with pytest.raises(ImportError, match=words):
        importlib.import_module(f"tele_jax.{what}")


def test_the_later_part_of_a_run_is_told():
    run = by_hand({"loss": np.zeros(3)})
    with pytest.raises(ValueError, match="costs: got the part of a run"):
        tables.costs(run.replace(rounds=run.rounds + 20))
