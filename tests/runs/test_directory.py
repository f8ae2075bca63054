"""Run directories: who may go on with what, and what damage leads to."""

import contextlib
import dataclasses
import json
import pickle
import shutil

import chex
import jax
import jax.numpy as jnp
import pyarrow.parquet as pq
import pytest

import tele_jax as tele
from tele_jax.driver import drive
from tele_jax.runs import RunDirectory, load_config
from tests import helpers
from tests.runs import cases
from tests.runs.test_provenance import Malicious


@dataclasses.dataclass(frozen=True)
class Config:
    """What a run is asked for."""

    learning_rate: float = 0.05
    rates: tuple[float, ...] = (0.1, 0.2)


def _drive(folder, num_rounds=20, *, name="teleportation", many=False, **settings):
    def chunk(num_rounds, resume):
        return (cases.batch if many else cases.chunk)(name, num_rounds, resume)

    directory = {"config": Config(), "data": cases.task(3)} | settings.pop("of", {})
    return drive(
        chunk,
        num_rounds=num_rounds,
        directory=RunDirectory(folder / "run", **directory),
        **{"rounds_per_chunk": 4, "rounds_per_checkpoint": 4} | settings,
    )


def _whole(num_rounds=20, *, name="teleportation", many=False):
    def chunk(num_rounds, resume):
        return (cases.batch if many else cases.chunk)(name, num_rounds, resume)

    return drive(chunk, num_rounds=num_rounds, rounds_per_chunk=4)


def _log(folder):
    return (folder / "run" / "log.txt").read_text()


@pytest.mark.parametrize("many", [False, True], ids=["one run", "vmap"])
@pytest.mark.parametrize("name", cases.ALGORITHMS)
def test_a_run_that_goes_on_is_bit_by_bit_the_whole(tmp_path, name, many):
    _drive(tmp_path, 8, name=name, many=many)
    run = _drive(tmp_path, 20, name=name, many=many)
    chex.assert_trees_all_equal(run, _whole(name=name, many=many))
    assert "begins at round 8" in _log(tmp_path)
    again = _drive(tmp_path, 20, name=name, many=many)  # which is complete
    chex.assert_trees_all_equal(again, run)
    assert "begins at round 20" in _log(tmp_path)


def test_a_folder_says_what_made_it(tmp_path):
    _drive(tmp_path)
    folder = tmp_path / "run"
    assert load_config(folder / "config.json", Config) == Config()
    known = json.loads((folder / "environment.json").read_text())
    assert known["packages"]["jax"] == jax.__version__
    assert {"learning_rate"} < set(known["identity"]["config"])
    made_by = {"code", "data", "jax", "start", "metrics", "devices"}
    assert made_by < set(known["identity"]["made_by"])
    names = {path.name for path in folder.iterdir()}
    described = {"config.json", "environment.json", "log.txt", "lock"}
    assert names == described | {"metrics", "checkpoints"}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert "compiling" in _log(tmp_path)


def test_before_its_first_checkpoint_a_run_starts_again(tmp_path):
    def stop(chunk):
        raise RuntimeError("a rule that is broken")

    with pytest.raises(RuntimeError, match="broken"):
        _drive(tmp_path, stop=stop)
    chex.assert_trees_all_equal(_drive(tmp_path), _whole())
    assert _log(tmp_path).count("begins at round 0") == 2


def test_rows_after_the_checkpoint_are_not_kept_twice(tmp_path):
    def stop(chunk):
        if chunk.rounds[-1] == 12:
            raise RuntimeError("killed")
        return False

    with pytest.raises(RuntimeError, match="killed"):
        _drive(tmp_path, 20, rounds_per_checkpoint=8, stop=stop)
    run = _drive(tmp_path, 20, rounds_per_chunk=6)  # chunks that end elsewhere
    assert run.rounds.tolist() == [0, 4, 8, 14, 20]
    chex.assert_trees_all_equal(run.info, _whole().info)
    rows = pq.read_table(tmp_path / "run" / "metrics")["round"].to_pylist()
    assert sorted(rows) == [*range(21)]


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"config": Config(0.1)}, r"learning_rate was 0\.05 and is now 0\.1\)\. Name"),
        (
            {"config": Config(0.1, (1.0,))},
            r"learning_rate .*; rates was \[0\.1, 0\.2\] and is now",
        ),
        ({"data": cases.task(4)}, "data was '"),
        (
            {"config": {"learning_rate": 0.05}},
            r"rates was \[0\.1, 0\.2\] and is now None",
        ),
    ],
)
def test_another_run_is_refused_by_the_names_of_what_differs(tmp_path, other, sentence):
    _drive(tmp_path, 8)
    with pytest.raises(ValueError, match=rf"holds another run \({sentence}"):
        _drive(tmp_path, 8, of=other)
    assert _drive(tmp_path, 8).rounds.max() == 8


def test_other_code_is_refused_unless_it_is_overridden(tmp_path, monkeypatch):
    from tele_jax.runs import provenance

    _drive(tmp_path, 8)
    monkeypatch.setattr(provenance, "digest_of_code", lambda _: "changed")
    with pytest.raises(
        ValueError, match=r"code was '.*' and is now 'changed'.*\(override code\)"
    ):
        _drive(tmp_path, 20)
    run = _drive(tmp_path, 20, of={"override": ["code"]})
    chex.assert_trees_all_equal(run, _whole())
    assert " goes on, though code was" in _log(tmp_path)


def test_force_starts_again(tmp_path):
    _drive(tmp_path, 8)
    other = {"config": Config(0.1), "force": True}
    assert _drive(tmp_path, 4, of=other).rounds.max() == 4
    folder = tmp_path / "run"
    assert load_config(folder / "config.json", Config) == Config(0.1)
    assert "begins at round 8" not in _log(tmp_path)


def test_force_spares_what_is_no_run(tmp_path):
    (tmp_path / "run").mkdir()
    precious = tmp_path / "run" / "thesis.tex"
    precious.write_text("years")
    with pytest.raises(ValueError, match="is no folder of a run"):
        _drive(tmp_path, of={"force": True})
    assert [*(tmp_path / "run").iterdir()] == [precious]
    (tmp_path / "run" / "environment.json").write_text("{}")  # of something else
    with pytest.raises(ValueError, match="is no folder of a run, or its environment"):
        _drive(tmp_path, of={"force": True})
    assert precious.read_text() == "years"


def test_force_is_not_obeyed_by_a_call_that_is_wrong(tmp_path):
    run = _drive(tmp_path)
    with pytest.raises(ValueError, match="rounds_per_chunk=7 must divide"):
        _drive(tmp_path, of={"force": True}, rounds_per_chunk=7)
    chex.assert_trees_all_equal(_drive(tmp_path), run)


def test_names_that_the_package_uses_as_well_are_compared(tmp_path):
    _drive(tmp_path, 8, of={"config": {"data": "a", "code": "b"}})
    with pytest.raises(ValueError, match=r"data was 'a' and is now 'c'\)\. Name"):
        _drive(tmp_path, 8, of={"config": {"data": "c", "code": "b"}})


def test_a_config_with_nan_is_itself(tmp_path):
    config = {"config": {"rate": float("nan")}}
    _drive(tmp_path, 8, of=config)
    assert _drive(tmp_path, 12, of=config).rounds.max() == 12


def test_another_start_or_other_metrics_are_refused(tmp_path):
    def go(start, **metrics):
        def observe(metrics, slots, task):
            return metrics | {"mean": slots.mean()}

        def chunk(num_rounds, resume):
            return helpers.four_slots(
                params=jnp.full(3, start),
                num_rounds=num_rounds,
                observe=jax.tree_util.Partial(observe, metrics),
                resume=resume,
            )

        directory = RunDirectory(tmp_path / "run", Config())
        return drive(chunk, num_rounds=8, rounds_per_chunk=4, directory=directory)

    go(1.0)
    with pytest.raises(ValueError, match="start was '"):
        go(2.0)
    with pytest.raises(
        ValueError, match=r"metrics.new was None and is now 'float32\[1\]'"
    ):
        go(1.0, new=jnp.float32(0))
    assert go(1.0).rounds.tolist() == [0, 4, 8]


def test_checkpoints_that_are_gone_are_missed(tmp_path):
    _drive(tmp_path)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(ValueError, match="gone on with: its checkpoints are gone"):
        _drive(tmp_path)
    assert len([*(tmp_path / "run" / "metrics").iterdir()]) == 6


def test_two_processes_cannot_run_in_one_directory(tmp_path):
    def meanwhile(chunk):
        del chunk
        with pytest.raises(ValueError, match=r"process \d+ on .*, for 0 minutes is at"):
            _drive(tmp_path)
        return True

    _drive(tmp_path, stop=meanwhile)
    assert not (tmp_path / "run" / "owner.json").exists()
    _drive(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(ValueError, match="exists and is no folder of a run"):
        _drive(tmp_path)
    with pytest.raises(ValueError, match="cannot write to"):
        _drive(tmp_path / "run")


def _damage(folder, round_of, change):
    """Change the files of a checkpoint that hold its numbers."""
    files = [*(folder / "run" / "checkpoints" / str(round_of)).glob("state/**/d/*")]
    assert files
    for path in files:
        path.write_bytes(change(path.read_bytes()))


def _flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.usefixtures("damages")
@pytest.mark.parametrize(
    "change",
    [_flip, lambda content: content[: len(content) // 2], lambda _: b""],
    ids=["flipped", "truncated", "empty"],
)
def test_a_damaged_checkpoint_leads_to_the_one_before(tmp_path, change):
    _drive(tmp_path, 12)
    _damage(tmp_path, 12, change)
    chex.assert_trees_all_equal(_drive(tmp_path, 12), _whole(12))
    assert "run: checkpoint 12 is damaged" in _log(tmp_path)
    assert "begins at round 8" in _log(tmp_path)
    # The damaged one has made way for a new one.
    chex.assert_trees_all_equal(_drive(tmp_path, 20), _whole())
    assert "begins at round 12" in _log(tmp_path)
    assert _log(tmp_path).count("is damaged") == 1


def test_damaged_curves_lead_to_a_checkpoint_before_them(tmp_path):
    _drive(tmp_path, 12)
    *_, newest = sorted((tmp_path / "run" / "metrics").iterdir())
    newest.write_bytes(_flip(newest.read_bytes()))
    chex.assert_trees_all_equal(_drive(tmp_path, 20), _whole())
    assert "begins at round 8" in _log(tmp_path)


@pytest.mark.usefixtures("damages")
def test_where_all_is_damaged_nothing_starts_again_by_itself(tmp_path):
    _drive(tmp_path, 12)
    for num_done in (4, 8, 12):
        _damage(tmp_path, num_done, _flip)
    with pytest.raises(ValueError, match=r"nothing in .* can be gone on with: checkp"):
        _drive(tmp_path)
    (tmp_path / "run" / "metrics").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="rows 0 to 12 are missing"):
        _drive(tmp_path)
    run = _drive(tmp_path, of={"force": True})
    chex.assert_trees_all_equal(run, _whole())


@pytest.mark.usefixtures("damages")
def test_a_pickle_in_the_place_of_any_file_is_not_executed(tmp_path):
    _drive(tmp_path, 12)
    trace = tmp_path / "trace"
    for path in [*(tmp_path / "run").rglob("*")]:
        if path.is_file() and path.name != "lock":
            good = path.read_bytes()
            path.write_bytes(pickle.dumps(Malicious(trace)))
            with contextlib.suppress(ValueError):
                _drive(tmp_path, 12)
            path.write_bytes(good)
    assert not trace.exists()


def test_a_run_that_its_rule_stopped_stays_stopped(tmp_path):
    def stop(chunk):
        return chunk.rounds[-1] >= 8

    run = _drive(tmp_path, stop=stop)
    assert run.rounds.tolist() == [0, 4, 8]
    assert "stopped by its rule after 8 rounds" in _log(tmp_path)
    chex.assert_trees_all_equal(_drive(tmp_path), run)


def test_a_directory_with_more_rounds_than_asked_for_is_refused(tmp_path):
    _drive(tmp_path, 12)
    with pytest.raises(
        ValueError, match="holds 12 rounds, expected at most num_rounds=8"
    ):
        _drive(tmp_path, 8)
    with pytest.raises(ValueError, match="must divide num_rounds=18 less the 12 that"):
        _drive(tmp_path, 18)


def test_checkpoints_come_by_rounds_or_by_time(tmp_path):
    def saved():
        return [
            int(line.rpartition(" ")[2])
            for line in _log(tmp_path).splitlines()
            if "checkpoint of round" in line
        ]

    _drive(tmp_path, 40, rounds_per_checkpoint=12)
    assert saved() == [0, 12, 24, 36, 40]
    _drive(tmp_path, 52, rounds_per_checkpoint=None)
    assert saved()[5:] == [52]
    _drive(tmp_path, 60, rounds_per_checkpoint=None, minutes_per_checkpoint=1e-9)
    assert saved()[6:] == [56, 60]


def test_devices_that_share_the_slots_go_on_where_they_were(tmp_path):
    def go(num_rounds, **settings):
        def chunk(num_rounds, resume):
            return cases.chunk("teleportation", num_rounds, resume)

        with jax.set_mesh(tele.slot_mesh(2)):
            return drive(chunk, num_rounds=num_rounds, rounds_per_chunk=4, **settings)

    directory = RunDirectory(tmp_path / "run", Config())
    go(8, directory=directory)
    run = go(20, directory=directory)
    chex.assert_trees_all_equal(run, go(20))
    assert len(run.state.params["x"].sharding.device_set) == 2
