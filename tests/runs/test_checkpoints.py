"""Checkpoints: what is loaded is what was saved, or it is not loaded."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tele_jax.runs.checkpoints import Checkpoints


class State(NamedTuple):
    """One leaf of every kind."""

    params: dict[str, jax.Array]
    count: jax.Array
    key: jax.Array
    nothing: None
    empty: jax.Array


def _state(seed):
    key = jax.random.key(seed)
    params = {
        "a": jax.random.normal(key, (4, 3)),
        "b": jax.random.normal(key, (4,)).astype(jnp.bfloat16),
    }
    return State(params, jnp.int32(seed), key, None, jnp.zeros((4, 0)))


def _assert_equal(found, expected):
    chex.assert_trees_all_equal(
        jax.tree.map(jnp.asarray, found._replace(key=jax.random.key_data(found.key))),
        expected._replace(key=jax.random.key_data(expected.key)),
    )


@pytest.fixture
def checkpoints(tmp_path):
    opened = Checkpoints(tmp_path / "checkpoints")
    yield opened
    opened.close()


def test_a_state_comes_back_bit_by_bit_and_old_ones_go(checkpoints):
    for num_done in (5, 10, 15, 20):
        checkpoints.save(num_done, _state(num_done), {"stopped": num_done == 20})
    checkpoints.wait()
    assert checkpoints.rounds == [20, 15, 10]
    for num_done in checkpoints.rounds:
        state, notes = checkpoints.load(num_done, _state(0))
        _assert_equal(state, _state(num_done))
        assert notes == {"stopped": num_done == 20}


@pytest.mark.usefixtures("damages")
def test_no_damaged_file_is_taken_for_the_state(tmp_path, checkpoints):
    checkpoints.save(5, _state(5), {})
    checkpoints.wait()
    files = [
        path
        for path in (tmp_path / "checkpoints" / "5").rglob("*")
        if path.is_file() and path.stat().st_size
    ]
    assert len(files) > 5
    rng, refused = np.random.default_rng(0), set()
    for path in files:
        good = path.read_bytes()
        flipped = bytearray(good)
        flipped[rng.integers(len(good))] ^= 0x20
        for bad in (bytes(flipped), good[: len(good) // 2], b""):
            path.write_bytes(bad)
            try:
                state, _ = checkpoints.load(5, _state(0))
            except Exception:
                refused.add(path.parent.name)
            else:
                _assert_equal(state, _state(5))
        path.write_bytes(good)
    assert "d" in refused  # where the numbers are


def test_arrays_that_are_not_those_of_the_digest_are_refused(checkpoints, monkeypatch):
    # As if something had changed them on their way to the disk.
    with monkeypatch.context() as patch:
        patch.setattr("tele_jax.runs.checkpoints.digest", lambda _: "of others")
        checkpoints.save(5, _state(5), {})
        checkpoints.wait()
    with pytest.raises(ValueError, match="digest is not that of its arrays"):
        checkpoints.load(5, _state(0))


@pytest.mark.usefixtures("damages")
def test_a_state_of_other_shapes_is_refused(checkpoints):
    checkpoints.save(5, _state(5), {})
    checkpoints.wait()
    other = _state(0)._replace(params={"a": jnp.ones((5, 3)), "b": jnp.ones(4)})
    with pytest.raises(ValueError, match=r"shape|digest"):
        checkpoints.load(5, other)
