"""The driver: chunks are the whole run, and what happened is said."""

import gc
import os
import signal
import threading
import weakref

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tele_jax._in_memory import InMemory
from tele_jax.driver import drive
from tele_jax.runs import RunDirectory
from tests import helpers


def _chunk(num_rounds, resume, learning_rate=0.3, seed=0):
    return tele.simulate(
        tele.Teleportation(tele.graphs.ring(4), learning_rate),
        helpers.quadratic(9, noise=0.5),
        jnp.ones(3),
        jax.random.key(seed),
        num_rounds=num_rounds,
        resume=resume,
    )


def _rates(num_rounds, resume, rates=(0.1, 0.3)):
    def one(rate, resume):
        return _chunk(num_rounds, resume, rate)

    return jax.vmap(one, (0, None if resume is None else 0))(jnp.array(rates), resume)


def _whole(num_rounds, eval_every):
    return tele.simulate(
        tele.Teleportation(tele.graphs.ring(4), 0.3),
        helpers.quadratic(9, noise=0.5),
        jnp.ones(3),
        jax.random.key(0),
        num_rounds=num_rounds,
        eval_every=eval_every,
    )


def test_chunks_are_bitwise_the_whole(capsys):
    run = drive(_chunk, num_rounds=12, rounds_per_chunk=3, label="study")
    chex.assert_trees_all_equal(run, _whole(12, 3))
    told = capsys.readouterr().err
    assert "study" in told
    assert "12/12" in told
    assert f"loss={float(run.info.loss[-1]):.4g}" in told
    assert "interrupted" not in told
    assert "diverged" not in told


def test_no_rounds_are_the_start():
    run = drive(_chunk, num_rounds=0, rounds_per_chunk=3)
    chex.assert_trees_all_equal(run, _whole(0, None))


def test_an_interrupt_keeps_what_is_done(capsys):
    calls = []

    def interrupted(num_rounds, resume):
        calls.append(num_rounds)
        if len(calls) == 4:  # the start, two chunks, and then Ctrl-C
            raise KeyboardInterrupt
        return _chunk(num_rounds, resume)

    run = drive(interrupted, num_rounds=12, rounds_per_chunk=3, label="study")
    assert calls == [0, 3, 3, 3]
    chex.assert_trees_all_equal(run, _whole(6, 3))
    told = capsys.readouterr().err
    assert "study: interrupted after 6 of 12 rounds." in told


def test_other_errors_are_not_swallowed():
    def broken(num_rounds, resume):
        if resume is not None:
            raise RuntimeError("out of memory")
        return _chunk(num_rounds, resume)

    with pytest.raises(RuntimeError, match="out of memory"):
        drive(broken, num_rounds=6, rounds_per_chunk=3)


def test_divergence_is_said(capsys):
    def chunk(num_rounds, resume):
        return _rates(num_rounds, resume, (0.1, 1e12))

    run = drive(chunk, num_rounds=12, rounds_per_chunk=3)
    first = jnp.isfinite(run.info.loss[1]).tolist().index(False)
    assert 0 < first < 12
    told = capsys.readouterr().err
    expected = f"1 of 2 runs diverged (the loss is not finite from round {first} on)"
    assert expected in told
    drive(_rates, num_rounds=3, rounds_per_chunk=3)
    assert "diverged" not in capsys.readouterr().err


def _programs(run, name):
    """How often XLA compiles the program of this name while ``run`` runs."""
    compiled = []

    def listen(event, duration, **details):
        del duration
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(details["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        run()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return sum(name in program for program in compiled)


@pytest.mark.parametrize("chunk", [_chunk, _rates], ids=["one run", "vmap"])
def test_all_chunks_share_one_program(chunk):
    def run():
        drive(chunk, num_rounds=20, rounds_per_chunk=4)

    jax.clear_caches()
    assert _programs(run, "_advance") == 1
    with helpers.compilations() as compiled:
        run()
    assert compiled == []


@pytest.mark.parametrize("on_disk", [False, True])
def test_only_the_newest_models_are_kept(on_disk, tmp_path):
    models, alive = [], []

    def chunk(num_rounds, resume):
        run = _chunk(num_rounds, resume)
        models.append(weakref.ref(run.state.params))
        return run

    def count(_):
        gc.collect()
        alive.append(sum(model() is not None for model in models))

    drive(
        chunk,
        num_rounds=12,
        rounds_per_chunk=3,
        directory=RunDirectory(tmp_path / "run", {}) if on_disk else None,
        callbacks=[count],
    )
    assert alive == [1] * 4  # not those of the start, nor of the chunk before


def test_a_batched_run_is_a_loop():
    together = drive(_rates, num_rounds=6, rounds_per_chunk=3)
    for i, rate in enumerate((0.1, 0.3)):
        alone = _chunk(3, None, rate)
        alone = tele.concatenate(alone, _chunk(3, alone, rate))
        one = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        chex.assert_trees_all_close(one, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rounds_per_chunk", [0, -1, 5, 13])
def test_chunks_must_divide_the_rounds(rounds_per_chunk):
    message = f"rounds_per_chunk={rounds_per_chunk} must divide num_rounds=12"
    with pytest.raises(ValueError, match=f"drive: {message}"):
        drive(_chunk, num_rounds=12, rounds_per_chunk=rounds_per_chunk)


class Never:
    """An array that no device will ever have computed."""

    def is_ready(self):
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_does_not_wait_for_the_chunk_that_runs(number, monkeypatch, capsys):
    ended = []
    monkeypatch.setattr(signal, "raise_signal", ended.append)

    def chunk(num_rounds, resume):
        run = _chunk(num_rounds, resume)
        if resume is not None and resume.rounds[-1] == 6:
            threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
            return run.replace(state=Never())
        return run

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run = drive(chunk, num_rounds=12, rounds_per_chunk=3)
    chex.assert_trees_all_equal(run, _whole(6, 3))
    assert "interrupted after 6 of 12 rounds." in capsys.readouterr().err
    # SIGTERM ends the process after all, Ctrl-C returns.
    assert ended == ([signal.SIGTERM] if number == signal.SIGTERM else [])
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def test_a_signal_that_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:

        def chunk(num_rounds, resume):
            os.kill(os.getpid(), signal.SIGINT)
            return _chunk(num_rounds, resume)

        run = drive(chunk, num_rounds=6, rounds_per_chunk=3)
    finally:
        signal.signal(signal.SIGINT, before)
    chex.assert_trees_all_equal(run, _whole(6, 3))


def test_a_second_interrupt_does_not_wait_for_the_users_code():
    reached = []

    def chunk(num_rounds, resume):
        if resume is not None and resume.rounds[-1] == 6:
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("the first is heard at the end of the chunk")
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("never")
        return _chunk(num_rounds, resume)

    run = drive(chunk, num_rounds=12, rounds_per_chunk=3)
    chex.assert_trees_all_equal(run, _whole(6, 3))
    assert len(reached) == 1


def test_a_second_sigterm_does_not_stop_the_last_write(monkeypatch):
    ended = []
    monkeypatch.setattr(signal, "raise_signal", ended.append)

    def again(_):
        os.kill(os.getpid(), signal.SIGTERM)

    finish = InMemory.finish

    def finish_under_fire(record):
        again(record)
        return finish(record)

    monkeypatch.setattr(InMemory, "finish", finish_under_fire)  # within the last write
    run = drive(_chunk, num_rounds=12, rounds_per_chunk=3, callbacks=[again])
    chex.assert_trees_all_equal(run, _whole(3, 3))
    assert ended == [signal.SIGTERM]


def test_a_thread_that_hears_no_signals_drives_as_well():
    runs = []
    thread = threading.Thread(
        target=lambda: runs.append(drive(_chunk, num_rounds=6, rounds_per_chunk=3))
    )
    thread.start()
    thread.join()
    chex.assert_trees_all_equal(runs[0], _whole(6, 3))


def test_a_rule_stops_the_run(capsys):
    seen = []

    def stop(chunk):
        seen.append(chunk.rounds.tolist())
        assert isinstance(chunk.info.loss, np.ndarray)
        return len(seen) == 2

    run = drive(_chunk, num_rounds=12, rounds_per_chunk=3, stop=stop, label="study")
    assert seen == [[3], [6]]
    chex.assert_trees_all_equal(run, _whole(6, 3))
    told = capsys.readouterr().err
    assert "study: stopped by its rule after 6 rounds." in told
    assert "interrupted" not in told


def test_the_slots_that_diverge_are_named(capsys):
    # x ← (1 − η a²) x: the node with a = 10 diverges, and tells nobody.
    task = tele.tasks.quadratic(jnp.array([1.0, 10.0, 1.0]), jnp.zeros((3, 2)))
    alone = tele.from_matrices(np.eye(3))

    def chunk(num_rounds, resume):
        return tele.simulate(
            tele.DSGD(alone, 0.5),
            task,
            jnp.ones(2),
            jax.random.key(0),
            num_rounds=num_rounds,
            resume=resume,
        )

    run = drive(chunk, num_rounds=60, rounds_per_chunk=10)
    first = np.isfinite(run.info.loss).tolist().index(False)
    told = capsys.readouterr().err
    assert f"(the loss is not finite from round {first} on, at round " in told
    assert "the models of 1 of 3 slots are not: 1); try" in told


def test_what_a_run_took_is_said_in_lines_that_a_log_can_hold(capsys):
    drive(_chunk, num_rounds=12, rounds_per_chunk=3, label="study")
    told = capsys.readouterr().err
    assert "\r" not in told
    *_, last = told.splitlines()
    assert last.startswith("study: ")
    assert "s of it compiling" in last
    assert "GiB of host memory" in last
    drive(_chunk, num_rounds=12, rounds_per_chunk=3, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"rounds_per_checkpoint": 0},
            "got rounds_per_checkpoint=0, expected at least 1",
        ),
        ({"minutes_per_checkpoint": 0}, "got minutes_per_checkpoint=0, expected more"),
    ],
)
def test_checkpoints_need_time_between_them(settings, sentence):
    with pytest.raises(ValueError, match=f"^drive: {sentence}"):
        drive(_chunk, num_rounds=6, rounds_per_chunk=3, **settings)


def test_a_run_stops_when_nobody_is_left_and_says_since_when(capsys):
    task = helpers.quadratic(4)
    leave = tele.network.departures(jax.random.key(0), 0.2)
    alive = [leave.alive(jnp.arange(4), jnp.int32(t)).any() for t in range(60)]
    last = alive.index(False)
    method = tele.UnreliableDSGD(tele.graphs.ring(4), 0.1, tele.Failures(leave))
    second = tele.Network(tele.network.same(), tele.network.constant(1.0))

    def chunk(num_rounds, resume):
        return tele.simulate(
            tele.Timed(method, second),
            task,
            jnp.ones(3),
            jax.random.key(0),
            num_rounds=num_rounds,
            resume=resume,
        )

    run = drive(chunk, num_rounds=60, rounds_per_chunk=5)
    assert run.rounds[-1] == 5 * (last // 5 + 1) < 60
    told = capsys.readouterr().err
    assert f"nothing is left from round {last} on ({last} s of simulated" in told
    assert f"simulated_s={last}" in told


def test_a_run_goes_on_when_nodes_come_back():
    task = helpers.quadratic(4)
    down = tele.Failures(tele.network.planned(np.full(4, 10), np.full(4, 20)))
    method = tele.UnreliableDSGD(tele.graphs.ring(4), 0.1, down)

    def chunk(num_rounds, resume):
        return tele.simulate(
            method,
            task,
            jnp.ones(3),
            jax.random.key(0),
            num_rounds=num_rounds,
            resume=resume,
        )

    run = drive(chunk, num_rounds=30, rounds_per_chunk=5)
    assert run.rounds[-1] == 30
