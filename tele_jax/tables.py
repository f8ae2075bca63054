"""Runs as tables: what each evaluation had cost, pandas frames, xarray data sets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tele_jax._extras import import_extra
from tele_jax.algorithms.base import reported
from tele_jax.run import Run, num_slots

if TYPE_CHECKING:
    import pandas
    import xarray


def costs(run: Run) -> dict[str, np.ndarray]:
    """What had been spent when a run was evaluated, by name.

    ``rounds``; ``gradients``, one for every slot that took part in a round, so k a
    round where nothing fails; ``messages``, the models sent; and of a ``Timed``
    algorithm simulated ``seconds`` and ``bytes``.

    Args:
      run: a run from its start, or a sweep.

    Returns:
      Arrays [..., e], int64 but for seconds and bytes, which are float64.

    Raises:
      ValueError: this is the later part of a run.

    >>> import jax, tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=3)
    >>> method = tele.DSGD(tele.graphs.ring(8), 0.1)
    >>> run = tele.simulate(method, task, np.ones(3, "f4"), jax.random.key(1),
    ...                     num_rounds=20, eval_every=10)
    >>> {name: spent.tolist() for name, spent in costs(run).items()}
    {'rounds': [0, 10, 20], 'gradients': [0, 80, 160], 'messages': [0, 160, 320]}
    """
    if not isinstance(run, Run):
        raise ValueError(
            f"costs: got {type(run).__name__}, expected a Run; of several, make a "
            "table each and join them, as pandas.concat does."
        )
    rounds = np.asarray(run.rounds, np.int64)
    per_round = {name: np.asarray(leaf) for name, leaf in reported(run.info).items()}
    known = per_round["messages"].shape[-1]
    if rounds[..., -1].max(initial=0) != known:
        raise ValueError(
            f"costs: got the part of a run that ends after round {rounds.max()}, but "
            f"tells of {known} rounds only, expected all from the start; give "
            "concatenate(run, further)."
        )
    everyone = np.full((*rounds.shape[:-1], known), num_slots(run))
    counted = {
        "gradients": per_round.get("gradients", per_round.get("active", everyone)),
        "messages": per_round["messages"],
    }
    spent = {"rounds": rounds}
    for name, leaf in counted.items():
        spent[name] = _until(rounds, leaf.astype(np.int64))
    for name in ("seconds", "bytes"):
        if name in per_round:
            spent[name] = _until(rounds, per_round[name].astype(np.float64))
    return spent


def to_xarray(run: Run, /, **axes: Sequence[Any]) -> "xarray.Dataset":
    """A run or a sweep as an xarray data set with named dimensions.

    Metrics and ``costs`` have the dimension ``round``, whose coordinate tells how many
    rounds were done; what every round reported, as ``round_loss`` and
    ``round_messages``, has the dimension ``t``.

    Args:
      run: a run from its start, or a sweep.
      **axes: name and values of every axis of the sweep, the outermost first.

    Raises:
      ValueError: axes and sweep do not match, names clash, or this is the later part
        of a run.
      ImportError: the extra ``tables`` is missing.

    >>> import jax, jax.numpy as jnp, tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=3)
    >>> ring, rates = tele.graphs.ring(8), jnp.array([0.1, 0.2])
    >>> runs = jax.vmap(lambda rate: tele.simulate(
    ...     tele.DSGD(ring, rate), task, jnp.ones(3), jax.random.key(1),
    ...     num_rounds=20, eval_every=10))(rates)
    >>> found = to_xarray(runs, rate=rates)
    >>> dict(found.sizes), float(found.loss.sel(round=20).mean("rate")) < 1
    ({'rate': 2, 'round': 3, 't': 20}, True)
    """
    xarray = import_extra("to_xarray", "xarray", "tables")
    spent = costs(run)
    coordinates = _checked("to_xarray", run, axes, spent)
    names = list(coordinates)
    rounds = spent.pop("rounds")
    coordinates["round"] = rounds.reshape(-1, rounds.shape[-1])[0]
    coordinates["t"] = np.arange(np.shape(run.info.loss)[-1])
    variables: dict[str, Any] = {}
    for name, values in {**spent, **run.metrics}.items():
        array = np.asarray(values)
        inner = [f"{name}_{axis}" for axis in range(array.ndim - len(names) - 1)]
        variables[name] = ([*names, "round", *inner], array)
    for name, values in reported(run.info).items():
        variables[f"round_{name}"] = ([*names, "t"], np.asarray(values))
    return xarray.Dataset(variables, coordinates)


def to_pandas(run: Run, /, **axes: Sequence[Any]) -> "pandas.DataFrame":
    """A run or a sweep as a tidy pandas frame: a row for every evaluation.

    Columns are the axes of the sweep, ``round``, the other ``costs`` and the metrics; a
    metric that is a vector has a column for each of its numbers, ``name_0``, ….

    Args:
      run: a run from its start, or a sweep.
      **axes: name and values of every axis of the sweep, the outermost first.

    Raises:
      ValueError: axes and sweep do not match, names clash, or this is the later part
        of a run.
      ImportError: the extra ``tables`` is missing.

    >>> import jax, jax.numpy as jnp, tele_jax as tele
    >>> task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=3)
    >>> ring, rates = tele.graphs.ring(8), jnp.array([0.25, 0.5])
    >>> runs = jax.vmap(lambda rate: tele.simulate(
    ...     tele.DSGD(ring, rate), task, jnp.ones(3), jax.random.key(1),
    ...     num_rounds=20))(rates)
    >>> to_pandas(runs, rate=rates)[["rate", "round", "gradients", "messages"]]
       rate  round  gradients  messages
    0  0.25      0          0         0
    1  0.25     20        160       320
    2  0.50      0          0         0
    3  0.50     20        160       320
    """
    pandas = import_extra("to_pandas", "pandas", "tables")
    spent = costs(run)
    named = _checked("to_pandas", run, axes, spent)
    rounds = spent.pop("rounds")
    places = np.indices(rounds.shape)
    columns = {
        name: values[place.ravel()]
        for (name, values), place in zip(named.items(), places, strict=False)
    }
    columns["round"] = rounds.ravel()
    measured: dict[str, Any] = {**spent, **run.metrics}
    for name, values in measured.items():
        rows = np.asarray(values).reshape(rounds.size, -1)
        if np.ndim(values) == rounds.ndim:
            columns[name] = rows[:, 0]
        else:
            columns |= {f"{name}_{i}": column for i, column in enumerate(rows.T)}
    return pandas.DataFrame(columns)


def _until(rounds: np.ndarray, per_round: np.ndarray) -> np.ndarray:
    """Sums of [..., num_rounds] over the rounds that were done, [..., e]."""
    nothing = np.zeros((*per_round.shape[:-1], 1), per_round.dtype)
    sums = np.concatenate([nothing, np.cumsum(per_round, axis=-1)], axis=-1)
    return np.take_along_axis(sums, rounds, axis=-1)


def _checked(
    who: str, run: Run, axes: dict[str, Sequence[Any]], spent: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The axes as arrays, if they are those of the sweep and no names clash."""
    named = {}
    for name, values in axes.items():
        try:
            named[name] = np.asarray(values)
        except TypeError:
            raise ValueError(
                f"{who}: got {name} of {type(values).__name__}, expected a number or a "
                "word for every run, such as range(5) for the keys of five seeds."
            ) from None
    batch = np.shape(run.rounds)[:-1]
    given = tuple(size for values in named.values() for size in values.shape)
    if given != batch or any(values.ndim != 1 for values in named.values()):
        raise ValueError(
            f"{who}: got {_shape(given)} ({', '.join(named) or 'none named'}), "
            f"expected {_shape(batch)}; name the axes of "
            f"the sweep, the outermost first, as in {who}(runs, seed=range(5))."
        )
    columns = ["round", "t", *spent, *(f"round_{name}" for name in reported(run.info))]
    taken = {*columns, *run.metrics} & set(axes) | set(columns) & set(run.metrics)
    if taken:
        raise ValueError(
            f"{who}: got {taken.pop()!r} as the name of an axis or a metric, which is "
            "that of another column; choose another."
        )
    return named


def _shape(sizes: tuple[int, ...]) -> str:
    if not sizes:
        return "no axes"
    return f"axes of {' × '.join(map(str, sizes))} values"
