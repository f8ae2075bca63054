"""Callbacks get every evaluation once, with the numbers of the run."""

import tensorboardX

from tele_jax import callbacks
from tele_jax.driver import drive
from tests.test_driver import _chunk, _rates


class Writer:
    """Remembers what it is told, as TensorBoard's and Weights & Biases' would."""

    def __init__(self):
        self.told = {}

    def add_scalar(self, name, value, step):
        self.told.setdefault(step, {})[name] = value

    def log(self, values, *, step):
        self.told[step] = values


def _driven(send, chunk=_chunk):
    return drive(chunk, num_rounds=12, rounds_per_chunk=3, callbacks=[send])


def _expected(run, place, num_done):
    return {name: float(leaf[place]) for name, leaf in run.metrics.items()} | {
        "round_loss": float(run.info.loss[num_done - 1]),
        "round_messages": float(run.info.messages[num_done - 1]),
    }


def test_loggers_are_told_of_every_evaluation():
    board, biases = Writer(), Writer()
    run = _driven(callbacks.tensorboard(board))
    _driven(callbacks.wandb(biases))
    assert [*board.told] == [3, 6, 9, 12]
    assert board.told == biases.told
    for place, num_done in enumerate((3, 6, 9, 12), 1):
        assert board.told[num_done] == _expected(run, place, num_done)


def test_of_a_batch_the_mean_is_told_of_runs_that_are_finite():
    def chunk(num_rounds, resume):
        return _rates(num_rounds, resume, (0.1, 0.3, 1e30))

    writer = Writer()
    run = _driven(callbacks.tensorboard(writer), chunk)
    two = run.info.loss[:2, -1]
    assert abs(writer.told[12]["round_loss"] - float(two.mean())) < 1e-6


def test_tensorboard_itself_takes_them(tmp_path):
    with tensorboardX.SummaryWriter(str(tmp_path)) as writer:
        _driven(callbacks.tensorboard(writer))
    (events,) = tmp_path.iterdir()
    content = events.read_bytes()
    for name in (b"loss", b"consensus_distance", b"round_messages"):
        assert content.count(name) >= 4
