"""A run in the hand: what it prints, and its indices."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tests import helpers
from tests.runs_by_hand import by_hand

SWEEP = by_hand({"loss": np.arange(30.0).reshape(2, 5, 3)})


def test_one_run_prints_how_it_began_and_ended():
    run = by_hand({"loss": [4.0, 2.0, 0.125], "accuracy": [0.1, 0.5, 0.25]})
    first, header, *rows = repr(run).splitlines()
    assert first == "Run of 20 rounds, 4 slots, evaluated at 3"
    assert header.split() == ["start", "end"]
    assert [row.split() for row in rows] == [
        ["loss", "4", "0.125"],
        ["accuracy", "0.1", "0.25"],
    ]


def test_a_sweep_prints_medians_and_the_range_of_what_is_finite():
    run = by_hand({"loss": [[9.0, 1.0], [8.0, 2.0], [7.0, 6.0], [7.0, np.nan]]})
    first, header, row, legend, told = repr(run).splitlines()
    assert first == "4 runs of 10 rounds, 4 slots, evaluated at 2"
    assert header.split() == ["start", "end", "lowest", "highest"]
    assert row.split() == ["loss", "7.5", "2", "1", "6"]
    assert "medians" in legend
    assert told == "diverged: 1 of 4 runs end with values that are not finite"
    assert repr(SWEEP).startswith("2 × 5 runs of 20 rounds")


def test_the_later_part_of_a_run_says_so_and_diverged_runs_too():
    run = by_hand({"loss": [4.0, np.inf]})
    later = run.replace(rounds=run.rounds + 100)
    assert repr(later).startswith("Run of rounds 101 to 110,")
    assert "diverged: it ends" in repr(later)
    assert "diverged: 2 of 2" in repr(by_hand({"loss": np.full((2, 2), np.nan)}))


def test_a_metric_that_is_a_vector_is_told_by_its_shape():
    run = by_hand({"loss": [4.0, 2.0]})
    run = run.replace(metrics={"each": np.ones((2, 7), np.float32)})
    assert "each" in repr(run)
    assert "float32[2, 7]" in repr(run)


def test_trees_of_something_else_than_numbers_print_as_well():
    assert "rounds=P('slots',)" in repr(
        jax.tree.map(lambda _: jax.sharding.PartitionSpec("slots"), SWEEP)
    )
    seen = []

    def traced(run):
        seen.append(repr(run))
        return run.rounds

    jax.make_jaxpr(traced)(SWEEP)
    assert "loss" in seen[0]


@pytest.mark.parametrize(
    ("index", "shape"),
    [(1, (5,)), ((0, 3), ()), ((slice(None), 2), (2,)), (slice(1), (1, 5)), (-1, (5,))],
)
def test_an_index_gives_fewer_runs(index, shape):
    found = SWEEP[index]
    assert isinstance(found, tele.Run)
    chex.assert_shape(found.rounds, (*shape, 3))
    chex.assert_trees_all_equal(
        found, jax.tree.map(lambda leaf: np.asarray(leaf)[index], SWEEP)
    )


def test_other_kinds_of_index():
    chex.assert_trees_all_equal(SWEEP[..., 0], SWEEP[:, 0])
    chex.assert_trees_all_equal(SWEEP[[1, 0]][0], SWEEP[1])
    best = jax.vmap(lambda run, i: run[i])(SWEEP, jnp.array([4, 2]))
    chex.assert_trees_all_equal(jax.device_get(best[1]), SWEEP[1, 2])
    assert "0 × 5" in repr(SWEEP[:0]) or repr(SWEEP[:0]).startswith("Run(")


def test_a_mask_chooses_runs_and_a_loop_sees_them_all():
    finite = np.array([True, False])
    chex.assert_trees_all_equal(SWEEP[finite], SWEEP[:1])
    assert [float(run.metrics["loss"][0, 0]) for run in SWEEP] == [0.0, 15.0]


def test_an_index_of_a_simulated_sweep_is_the_run_alone():
    def run(rate):
        return helpers.four_slots(rate, num_rounds=6)

    rates = jnp.array([0.1, 0.2])
    chex.assert_trees_all_close(jax.vmap(run)(rates)[1], run(0.2), rtol=1e-6)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (2, "index 2 is out of bounds .* sweep of 2 × 5 runs"),
        ((0, 9), "index 9 is out of bounds .* sweep of 2 × 5 runs"),
        ((0, 0, 0), "too many indices .* sweep of 2 × 5 runs"),
        ("loss", "only integers.* sweep of 2 × 5 runs"),
    ],
)
def test_a_run_that_is_not_there_is_told(index, words):
    with pytest.raises(IndexError, match=words):
        SWEEP[index]


def test_one_run_has_no_index():
    with pytest.raises(TypeError, match="this is one run and not a sweep"):
        SWEEP[0, 0][0]
