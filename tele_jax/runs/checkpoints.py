"""The state of a run on disk, through Orbax: atomic, in the background, checked."""

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from tele_jax import processes
from tele_jax.connection import lost
from tele_jax.runs.provenance import digest

_KEPT = 3
"""Checkpoints on disk: the newest ones."""


class SharedDamage(ValueError):
    """What one process alone cannot read. The others wait for it within Orbax."""


class Checkpoints:
    """A folder of checkpoints, one for each of the last rounds that were saved."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        options = ocp.CheckpointManagerOptions(
            max_to_keep=_KEPT, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    @property
    def rounds(self) -> list[int]:
        """The rounds of all checkpoints, the newest first."""
        return sorted(self._manager.all_steps(), reverse=True)

    def save(self, num_done: int, state: Any, notes: dict[str, Any]) -> None:
        """Begin to write a state; the arrays are copied before this returns."""
        leaves = _plain(state)
        self._manager.save(
            num_done,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(leaves),
                notes=ocp.args.JsonSave({**notes, "digest": digest(leaves)}),
            ),
        )

    def wait(self) -> None:
        """Return when everything is on disk; raises what went wrong."""
        self._manager.wait_until_finished()

    def load(self, num_done: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """The state and the notes of a checkpoint.

        Raises:
          ValueError: what was read is not what was written.
          SharedDamage: of many processes, this one cannot read it.
        """
        try:
            restored = self._restored(num_done, like)
        except Exception as error:  # whatever a damaged file makes of itself
            if jax.process_count() > 1 and not lost(error):
                raise SharedDamage(
                    f"RunDirectory: process {jax.process_index()} cannot read "
                    f"checkpoint {self._folder / str(num_done)}; move it away, and "
                    "start again: the one before it may do."
                ) from error
            raise
        if restored.notes.pop("digest") != digest(restored.state):
            raise ValueError("its digest is not that of its arrays")
        return _like(restored.state, like), restored.notes

    def _restored(self, num_done: int, like: Any) -> Any:
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _plain(like))
        return self._manager.restore(
            num_done,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(abstract),
                notes=ocp.args.JsonRestore(),
            ),
        )

    def set_aside(self, num_done: int) -> None:
        """Move a checkpoint out of the way, to ``damaged/`` beside the folder."""
        if processes.is_first():
            damaged = self._folder.parent / "damaged"
            damaged.mkdir(exist_ok=True)
            place = damaged / f"{num_done}-{time.time_ns()}"
            (self._folder / str(num_done)).rename(place)
        processes.wait_for_all()
        self._manager.reload()

    def close(self) -> None:
        """Wait, and let the threads go."""
        self._manager.close()


def _plain(state: Any) -> dict[str, Any]:
    """The leaves by number: keys as the integers that they are, nothing empty.

    What is stored then does not depend on the classes of the package.
    """
    leaves = enumerate(jax.tree.leaves(state))
    return {f"{i:04}": _bits(leaf) for i, leaf in leaves if np.size(leaf)}


def _like(plain: dict[str, Any], like: Any) -> Any:
    """``_plain`` undone."""
    leaves, structure = jax.tree.flatten(like)
    for number, leaf in plain.items():
        i = int(number)
        if _is_key(leaves[i]):
            leaf = jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(leaves[i]))
        leaves[i] = leaf
    return jax.tree.unflatten(structure, leaves)


def _bits(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
