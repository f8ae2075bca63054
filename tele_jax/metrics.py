"""What is measured of a run: of the mean model, of the slots, and of the network."""

from typing import TYPE_CHECKING

import numpy as np

from tele_jax import tree
from tele_jax._types import Metrics, Slots
from tele_jax.devices import over_slots
from tele_jax.tasks.base import Task, evaluate

if TYPE_CHECKING:
    from tele_jax.algorithms.base import Info


def standard(slots: Slots, task: Task) -> Metrics:
    """All there is to know of a moment: ``mean_model``, ``each_slot``, ``consensus``.

    The default ``observe`` of ``simulate``. Evaluating every slot costs k times the
    mean model; pass ``metrics.mean_model`` where that is too dear.

    Args:
      slots: the models, leaves [k, ...].
      task: only what it offers is reported.

    Returns:
      Arrays of shape [].

    >>> from tele_jax.tasks.quadratic import quadratic
    >>> task = quadratic(np.ones(2), np.array([[1.0], [3.0]]))
    >>> list(standard(np.array([[1.0], [5.0]]), task))
    ['loss', 'grad_norm_sq', 'consensus_distance']
    """
    return {
        **mean_model(slots, task),
        **each_slot(slots, task),
        **consensus(slots, task),
    }


def mean_model(slots: Slots, task: Task) -> Metrics:
    """Of the mean model x̄ = (1/k) Σ_a x_a.

    ``loss``: f(x̄), if the task has an ``objective``; ``grad_norm_sq``: ‖∇f(x̄)‖², if
    it has an exact ``gradient``; and what the task's ``evaluate`` gives, such as
    ``accuracy``.

    >>> from tele_jax.tasks.quadratic import quadratic
    >>> task = quadratic(np.ones(2), np.array([[1.0], [3.0]]))
    >>> {k: float(v) for k, v in mean_model(np.array([[1.0], [5.0]]), task).items()}
    {'loss': 1.0, 'grad_norm_sq': 1.0}
    """
    mean = tree.average(slots)
    measured = dict(evaluate(task, mean))
    if (objective := getattr(task, "objective", None)) is not None:
        measured["loss"] = objective(mean)
    if (gradient := getattr(task, "gradient", None)) is not None:
        measured["grad_norm_sq"] = tree.squared_norm(gradient(mean))
    return measured


def each_slot(slots: Slots, task: Task) -> Metrics:
    """Mean, minimum and maximum over the slots of what the task's ``evaluate`` gives.

    Keys are ``slot_accuracy_mean``, ``slot_accuracy_min``, ``slot_accuracy_max``; no
    keys for a task without ``evaluate``.

    >>> import jax, tele_jax as tele
    >>> data = tele.tasks.datasets.digits()
    >>> owners = tele.tasks.partition.iid(data.train_labels, num_nodes=4, seed=0)
    >>> model = tele.tasks.models.by_name("softmax")
    >>> task = tele.tasks.classification(data, owners, model, batch_size=8)
    >>> params = model.init(jax.random.key(0), data.train_inputs[:1])
    >>> list(each_slot(tele.tree.stack(params, 4), task))[:3]
    ['slot_accuracy_mean', 'slot_accuracy_min', 'slot_accuracy_max']
    """
    if not hasattr(task, "evaluate"):
        return {}
    # One slot after the other: an evaluation is a batch of many examples already.
    of_slots = over_slots(evaluate, task, slots, at_once=1)
    summaries = {}
    for name, values in of_slots.items():
        summaries[f"slot_{name}_mean"] = values.mean(axis=0)
        summaries[f"slot_{name}_min"] = values.min(axis=0)
        summaries[f"slot_{name}_max"] = values.max(axis=0)
    return summaries


def consensus(slots: Slots, task: Task) -> Metrics:
    """``consensus_distance``: (1/k) Σ_a ‖x_a − x̄‖².

    >>> float(consensus(np.array([[1.0], [5.0]]), task=None)["consensus_distance"])
    4.0
    """
    del task
    return {"consensus_distance": tree.consensus_distance(slots)}


def messages_sent(info: "Info") -> np.ndarray:
    """Models sent up to and including every round, int64[..., num_rounds].

    >>> from tele_jax.algorithms.base import Info
    >>> messages_sent(Info(loss=np.zeros(3), messages=np.array([0, 4, 4]))).tolist()
    [0, 4, 8]
    """
    return np.cumsum(np.asarray(info.messages, np.int64), axis=-1)


def bytes_sent(info: "Info", params: object) -> int:
    """Bytes of all messages of a run: messages × bytes per model.

    Counted in Python integers on the host: 32 bits overflow after 2 GiB.

    Args:
      info: the run's ``info``; of a batched run, the sum over its runs.
      params: **one** model, such as the one the run began with.

    >>> from tele_jax.algorithms.base import Info
    >>> info = Info(loss=np.zeros(2), messages=np.array([2**30, 2**30]))
    >>> bytes_sent(info, np.zeros(250, np.float32))  # 2³¹ models of 1000 bytes
    2147483648000
    """
    return int(np.asarray(info.messages, np.int64).sum()) * tree.num_bytes(params)


def elapsed(info: "Info") -> np.ndarray:
    """Simulated time at the end of every round, float64[..., num_rounds], seconds.

    Args:
      info: of a run of a ``Timed`` algorithm.

    Raises:
      ValueError: the run had no clocks.

    >>> from tele_jax.algorithms.base import Info
    >>> half = np.full(3, 0.5, np.float32)
    >>> elapsed(Info(np.zeros(3), np.zeros(3), seconds=half, bytes=half)).tolist()
    [0.5, 1.0, 1.5]
    """
    if info.seconds is None:
        raise ValueError(
            "elapsed: got a run without clocks, expected one of "
            "Timed(algorithm, network)."
        )
    return np.cumsum(np.asarray(info.seconds, np.float64), axis=-1)
