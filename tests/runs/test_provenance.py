"""What a reader needs to know is written, and read again as it was."""

import dataclasses
import json
import math
import pickle
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import pytest

import tele_jax as tele
from tele_jax.runs import config_to_json, digest, environment, load_config
from tele_jax.runs.provenance import among, differences, fingerprint


@dataclasses.dataclass(frozen=True)
class Inner:
    """A part of a config."""

    alpha: float = math.inf


@dataclasses.dataclass(frozen=True)
class Config:
    """One field of every kind that studies have."""

    rates: tuple[float, ...] = (0.1, 1 / 3)
    pairs: tuple[tuple[float, float], ...] = ((1.0, 0.0),)
    name: Literal["quick", "full"] = "quick"
    folder: Path = Path("results/a")
    number: int | None = None
    inner: Inner = Inner()


@pytest.mark.parametrize("config", [Config(), Config(name="full", number=3, rates=())])
def test_a_config_comes_back_as_it_was(config, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(config_to_json(config))
    assert load_config(path, Config) == config


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rate": 1}, "rate"),
        ({"rates": ["many"]}, "rates"),
        ({"name": "slow"}, "name"),
    ],
)
def test_a_file_that_is_no_config_is_refused_field_by_field(change, sentence, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(config_to_json(Config())) | change))
    with pytest.raises(
        ValueError, match=f"^load_config: .* is no Config: .*{sentence}"
    ):
        load_config(path, Config)


class Malicious:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def test_a_pickle_in_its_place_is_not_executed(tmp_path):
    path, trace = tmp_path / "config.json", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Malicious(trace), protocol=0))
    with pytest.raises(ValueError, match=r"^load_config: .*config\.json"):
        load_config(path, Config)
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists()  # the trap works


def test_the_environment_names_what_numbers_depend_on(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=")
    found = environment()
    assert found["packages"]["jax"] == jax.__version__
    assert found["flags"]["XLA_FLAGS"] == "--xla_dump_to="
    assert len(found["devices"]) == jax.device_count()
    json.dumps(found)


def test_a_digest_tells_data_apart():
    def task(seed, **settings):
        return tele.tasks.least_squares(
            jax.random.key(seed), num_nodes=4, dim=2, **settings
        )

    same = digest(task(0))
    assert same == digest(task(0))
    others = [
        task(1),
        task(0, noise=1.0),
        {"task": task(0)},
        jnp.zeros(3),
        jnp.zeros(3, jnp.int32),
        jnp.zeros((1, 3)),
        jnp.array([0.0, 0.0, -0.0]),
        jnp.zeros(()),
        jnp.zeros(1),
        jax.random.key(0),
        jax.random.key(1),
    ]
    assert len({same, *map(digest, others)}) == 1 + len(others)


def test_functions_have_the_same_digest_in_every_process():
    def one(learning_rate):
        def factory():
            return learning_rate

        return jax.tree_util.Partial(factory, 1.0)

    assert str(one(1)) != str(one(2))  # the addresses
    assert digest(one(1)) == digest(one(2))


def test_differences_name_what_is_new_or_gone():
    assert differences({"a": 1, "b": 2}, {"b": 3, "c": 4}) == {
        "a": (1, None),
        "b": (2, 3),
        "c": (None, 4),
    }


def test_differences_are_named_down_to_the_entry():
    before = {"a": {"b": {"c": 1, "d": 2}, "e": 3}, "f": {"g": 4}}
    now = {"a": {"b": {"c": 1, "d": 5}, "e": 3}, "f": 4}
    assert differences(before, now) == {"a.b.d": (2, 5), "f": ({"g": 4}, 4)}
    assert among("a.b.d", ["a.b"])
    assert not among("a.bc", ["a.b"])


def test_fingerprints_tell_data_apart():
    assert fingerprint()["data"] != fingerprint(jnp.ones(2))["data"]
