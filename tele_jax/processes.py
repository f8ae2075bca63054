"""Many processes that simulate together: what they agree on, and what they read.

JAX does the work: under ``jax.set_mesh(slot_mesh())`` the slots are shared by the
devices of all processes. Every process runs the same program on the same data.
"""

import contextlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

Opened = TypeVar("Opened")


def is_first() -> bool:
    """Whether this process is the one that writes and speaks for all.

    >>> is_first()
    True
    """
    return jax.process_index() == 0


def fetch(tree: Any) -> Any:
    """Arrays as they are on the host, also those that are spread over processes.

    All processes have to call it together.

    >>> fetch({"a": jax.numpy.arange(2)})
    {'a': array([0, 1], dtype=int32)}
    """

    def whole(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or leaf.is_fully_replicated:
            return leaf
        if not leaf.is_fully_addressable:
            return multihost_utils.process_allgather(leaf, tiled=True)
        # An array keeps the copy on the host that it gives. This one, of the same
        # memory, does not live long.
        parts = [shard.data for shard in leaf.addressable_shards]
        return jax.make_array_from_single_device_arrays(
            leaf.shape, leaf.sharding, parts
        )

    return jax.device_get(jax.tree.map(whole, tree))


def any_of(*flags: bool) -> tuple[bool, ...]:
    """Of each flag, whether it is set on any process; the same answer on all.

    >>> any_of(True, False)
    (True, False)
    """
    if jax.process_count() == 1:
        return flags
    told = np.asarray(multihost_utils.process_allgather(np.array(flags)))
    return tuple(bool(np.any(of_flag)) for of_flag in told.T)


def wait_for_all() -> None:
    """Go on when all processes are here."""
    any_of(False)


def check_alike(who: str, facts: dict[str, Any]) -> None:
    """Refuse what is not the same on all processes, and name it.

    Raises:
      ValueError: on all processes, if any fact differs from that of process 0.

    >>> check_alike("connect", {"jax": jax.__version__})
    """
    first, *others = (json.loads(told) for told in _told_by_all(json.dumps(facts)))
    for index, other in enumerate(others, start=1):
        for name in {**first, **other}:
            mine, theirs = first.get(name), other.get(name)
            if json.dumps(mine) != json.dumps(theirs):
                raise ValueError(
                    f"{who}: process {index} has {name} {theirs!r}, and process 0 "
                    f"{mine!r}; start all with the same."
                )


@contextlib.contextmanager
def first_opens(
    opened: AbstractContextManager[Opened], otherwise: Opened
) -> Iterator[Opened]:
    """Enter a context on process 0 only, before the others go on without it.

    Raises:
      ValueError: on the other processes, with the words of what process 0 raised.
    """
    with contextlib.ExitStack() as stack:
        words, value = "", otherwise
        try:
            if is_first():
                value = stack.enter_context(opened)
        except BaseException as error:
            words = str(error) or type(error).__name__
            raise
        finally:
            refused = _told_by_all(words)[0]
        if refused:
            raise ValueError(f"{refused} (told by process 0)")
        yield value


def _told_by_all(words: str) -> list[str]:
    """What every process says, in their order."""
    if jax.process_count() == 1:
        return [words]
    text = np.frombuffer(words.encode(), np.uint8)
    lengths = np.ravel(multihost_utils.process_allgather(np.array([len(text)])))
    padded = np.zeros(lengths.max() + 1, np.uint8)
    padded[: len(text)] = text
    told = np.asarray(multihost_utils.process_allgather(padded))
    return [
        bytes(row[:length]).decode()
        for row, length in zip(told, lengths.tolist(), strict=True)
    ]
