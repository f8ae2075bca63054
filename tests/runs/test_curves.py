"""Curves on disk: what is read is, bit by bit, what was written."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest

import tele_jax as tele
from tele_jax.runs.curves import Curves
from tests import helpers
from tests.runs import cases


def _written(folder, simulate, num_chunks=3):
    """Curves of a start and some chunks of four rounds, and the run they are."""
    chunks = [simulate(0, None)]
    curves = Curves(folder / "metrics", chunks[0])
    curves.add(chunks[0], 0, 0)
    for number in range(num_chunks):
        chunks.append(simulate(4, chunks[-1]))
        curves.add(chunks[-1], 4 * number + 1, 4 * number + 4)
    return curves, tele.concatenate(*chunks)


def _one(num_rounds, resume):
    return cases.chunk("teleportation", num_rounds, resume)


def _batch(num_rounds, resume):
    return cases.batch("teleportation", num_rounds, resume)


@pytest.mark.parametrize("simulate", [_one, _batch])
def test_a_run_comes_back_bit_by_bit(simulate, tmp_path):
    curves, whole = _written(tmp_path, simulate)
    chex.assert_trees_all_equal(curves.read(12, whole.state), whole)
    shorter = curves.read(8, whole.state)
    assert shorter.rounds.max() == 8
    chex.assert_trees_all_equal(shorter.info.loss, whole.info.loss[..., :8])


def test_a_reader_finds_one_row_for_every_round(tmp_path):
    _, whole = _written(tmp_path, _batch)
    table = pq.read_table(tmp_path / "metrics").sort_by(
        [("index_0", "ascending"), ("index_1", "ascending"), ("round", "ascending")]
    )
    assert table.num_rows == 2 * 3 * 13
    rounds = np.array(table["round"]).reshape(2, 3, 13)
    np.testing.assert_array_equal(rounds, np.broadcast_to(np.arange(13), (2, 3, 13)))
    loss = table["round_loss"].to_pylist()
    assert loss[0] is None  # no round before the start
    assert loss[14] == float(whole.info.loss[0, 1, 0])
    accuracy = table["accuracy"].to_pylist()[:13]
    assert [r for r, value in enumerate(accuracy) if value is not None] == [0, 4, 8, 12]
    assert accuracy[4] == float(whole.metrics["accuracy"][0, 0, 1])
    assert len(table["first"][0].as_py()) == cases.DIM


def test_odd_values_and_dtypes_survive(tmp_path):
    def odd(slots, task):
        del slots, task
        return {
            "nan": jnp.nan,
            "minus_zero": -0.0,
            "half": jnp.bfloat16(1 / 3),
            "flag": jnp.array([True, False]),
            "count": jnp.int32(7),
        }

    def simulate(num_rounds, resume):
        observe = jax.tree_util.Partial(odd)
        return helpers.four_slots(num_rounds=num_rounds, observe=observe, resume=resume)

    curves, whole = _written(tmp_path, simulate)
    found = curves.read(12, whole.state)
    chex.assert_trees_all_equal_shapes_and_dtypes(found, whole)
    chex.assert_trees_all_equal(found, whole)
    assert np.signbit(found.metrics["minus_zero"]).all()


def test_what_comes_after_a_round_is_forgotten(tmp_path):
    curves, whole = _written(tmp_path, _one)
    (tmp_path / "metrics" / ".rounds-000000000013-000000000016.parquet").touch()
    curves.forget(8)
    assert [last for _, last, _ in curves.parts()] == [0, 4, 8]
    assert len([*(tmp_path / "metrics").iterdir()]) == 3
    assert curves.damage(8) is None
    assert "rows 9 to 12 are missing" in curves.damage(12)
    chex.assert_trees_all_equal(curves.read(8, None).rounds, whole.rounds[:3])


def test_a_gap_is_damage(tmp_path):
    curves, _ = _written(tmp_path, _one)
    curves.parts()[2][2].unlink()
    assert curves.damage(4) is None
    assert "rows 5 to 12 are missing" in curves.damage(12)


def test_every_flipped_byte_is_found(tmp_path):
    curves, _ = _written(tmp_path, _one, num_chunks=1)
    *_, (_, _, path) = curves.parts()
    good = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(good), 100):
        bad = bytearray(good)
        bad[place] ^= 0x10
        path.write_bytes(bad)
        assert "is damaged" in curves.damage(4)
    path.write_bytes(good[: len(good) // 2])
    assert "is damaged" in curves.damage(4)


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    curves, whole = _written(tmp_path, _one)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        curves.add(_one(4, whole), 13, 16)
    assert len([*(tmp_path / "metrics").iterdir()]) == 4
