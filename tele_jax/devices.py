"""Who computes which slots: all at once, in blocks, or shared between devices."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, Mesh, PartitionSpec

from tele_jax import tree
from tele_jax._in_place import over_rows, rows_in_turn
from tele_jax._types import Array, Params, Slots

AXIS = "slots"
"""The axis of the mesh."""

_BYTES_AT_A_TIME = 540_000
"""On a CPU, models and batches of this size together are taken at once: they and what
is computed of them then stay in its cache (1.2-1.7 times faster on LeNet, 1.1-1.3 on
softmax regression). With batches of 32 images of 28 x 28 four softmax regressions need
527 kB, and are 1.05 times as fast as two at once; two LeNets 556 kB, and are slower."""


def slot_mesh(num_devices: int | None = None) -> Mesh:
    """A mesh of devices that share the slots of what is simulated under it.

    ``with jax.set_mesh(slot_mesh()): simulate(...)`` gives every device k / D of the
    slots to step and to evaluate (where D does not divide k, some repeat the work on a
    slot that has been done); the data are copied to every device. Gossip on a graph
    that repeats after up to 64 rounds moves only the models that slots of other devices
    hear. Otherwise all models go to all devices, and where D does not
    divide k, they all stay there. The numbers are those of one device, up to rounding.
    A run is resumed under the mesh it was made under. Algorithms share their work by
    ``over_slots``, which ``local_step`` is made of, and their gossip by ``mix`` with
    ``routes_of``.

    A CPU is one device unless it is told to be more before its first use:
    ``jax.config.update("jax_num_cpu_devices", os.cpu_count())``. With one device per
    core every core is busy all the time.

    Args:
      num_devices: D; all devices by default.

    Returns:
      A ``jax.sharding.Mesh``, whose one axis is called "slots".

    Raises:
      ValueError: there are not so many devices, or a process has none of them.

    >>> slot_mesh(1).size
    1
    """
    available = jax.devices()
    if num_devices is None:
        num_devices = len(available)
    if not 1 <= num_devices <= len(available):
        raise ValueError(
            f"slot_mesh: got num_devices={num_devices}, expected 1 to "
            f"{len(available)}, for so many devices there are; of a CPU, make more "
            'with jax.config.update("jax_num_cpu_devices", ...) before its first use.'
        )
    chosen = available[:num_devices]
    missing = {device.process_index for device in available[num_devices:]}
    missing -= {device.process_index for device in chosen}
    if missing:
        raise ValueError(
            f"slot_mesh: got num_devices={num_devices}, of which process "
            f"{min(missing)} has none, expected some for every process; leave "
            "num_devices out, or start fewer processes."
        )
    return jax.make_mesh((num_devices,), (AXIS,), (AxisType.Auto,), devices=chosen)


def over_slots(
    function: Callable[..., Any],
    shared: Any,
    *of_slots: Any,
    at_once: int | None = None,
    bytes_beside: int = 0,
) -> Any:
    """``function(shared, *of_slot)`` for every slot: vmap, but blocked and shared.

    Args:
      function: takes what all slots share and what is one slot's own.
      shared: a tree.
      of_slots: trees with leaves [k, ...], the models first.
      at_once: so many slots at a time on each device, to save memory; None: on a CPU
        as many as stay in its cache, elsewhere all.
      bytes_beside: bytes that the function needs for a slot beside its model, such as
        those of its batch; they have to stay in the cache, too.

    Returns:
      What the function returned, leaves [k, ...].

    Raises:
      ValueError: the mesh is not one of ``slot_mesh``; but within somebody's
        ``shard_map`` over other axes every device computes all slots it is given.

    >>> over_slots(jnp.multiply, 3.0, jnp.arange(3.0)).tolist()
    [0.0, 3.0, 6.0]
    """
    here = functools.partial(_in_blocks, function, at_once, bytes_beside)
    mesh = jax.sharding.get_abstract_mesh()
    if set(mesh.axis_names) == set(mesh.manual_axes) - {AXIS}:
        return here(shared, *of_slots)  # no mesh, or somebody's shard_map over runs
    _check(mesh)
    own = PartitionSpec(AXIS)
    divided = jax.shard_map(
        here,
        in_specs=(PartitionSpec(), *(own for _ in of_slots)),
        out_specs=own,
        axis_names={AXIS},
        # Nothing is reduced over devices in here. Checked, a gradient that the function
        # takes of what is shared would be, and a scan from a constant would be refused.
        check_vma=False,
    )
    num_slots = tree.num_slots(of_slots[0])
    if not (missing := -num_slots % mesh.shape[AXIS]):
        return divided(shared, *of_slots)
    even = jax.tree.map(functools.partial(_lengthened, missing), of_slots)
    return jax.tree.map(lambda leaf: leaf[:num_slots], divided(shared, *even))


def _lengthened(missing: int, leaf: Array) -> Array:
    """With the last slot repeated: zeros, which are no model, might give NaNs."""
    repeated = jnp.broadcast_to(leaf[-1:], (missing, *leaf.shape[1:]))
    return jnp.concatenate([leaf, repeated])


def stack(params: Params, num_slots: int) -> Slots:
    """``tree.stack``, every device holding its own slots.

    >>> stack(0.5, 2).tolist()
    [0.5, 0.5]
    """
    slots = jnp.arange(num_slots, dtype=jnp.int32)
    return over_slots(lambda params, _: params, params, slots)


def are_many() -> bool:
    """Whether devices share the slots, and this is the program of them all.

    >>> are_many()
    False
    """
    mesh = jax.sharding.get_abstract_mesh()
    return AXIS in mesh.auto_axes and mesh.shape[AXIS] > 1


def is_shared_by_runs() -> bool:
    """Whether this is within somebody's ``shard_map``, as over runs.

    What is written there over what was read might have to become different on every
    device.

    >>> is_shared_by_runs()
    False
    """
    return bool(set(jax.sharding.get_abstract_mesh().manual_axes) - {AXIS})


def _check(mesh: AbstractMesh) -> None:
    if AXIS not in mesh.auto_axes:
        axes = ", ".join(map(repr, mesh.axis_names))
        raise ValueError(
            f"over_slots: got a mesh with the axes {axes}, expected an Auto axis "
            f'"{AXIS}"; make the mesh with slot_mesh().'
        )


def _in_blocks(
    function: Callable[..., Any],
    at_once: int | None,
    bytes_beside: int,
    shared: Any,
    *of_slots: Any,
) -> Any:
    """Some slots after the others; by default only on a CPU."""
    slots = of_slots[0]
    num_slots = tree.num_slots(slots)
    bytes_per_slot = tree.num_bytes(slots) // num_slots + bytes_beside
    block = at_once or block_size(num_slots, bytes_per_slot)

    def all_at_once(shared: Any, *of_slots: Any) -> Any:
        return jax.vmap(functools.partial(function, shared))(*of_slots)

    def in_blocks(shared: Any, *of_slots: Any) -> Any:
        in_turn = rows_in_turn if is_shared_by_runs() else over_rows
        return in_turn(function, block, shared, *of_slots)

    if block >= num_slots:
        return all_at_once(shared, *of_slots)
    if at_once is not None:
        return in_blocks(shared, *of_slots)
    return jax.lax.platform_dependent(
        shared, *of_slots, cpu=in_blocks, default=all_at_once
    )


def block_size(num_slots: int, bytes_per_slot: int) -> int:
    """How many of k slots a CPU takes at once.

    >>> block_size(64, 7_850 * 4), block_size(64, 7_850 * 4 + 32 * 784 * 4)
    (16, 4)
    """
    largest = min(num_slots, max(1, _BYTES_AT_A_TIME // max(1, bytes_per_slot)))
    # A divisor leaves no smaller block at the end, which would be compiled apart; it is
    # worth up to half of the size.
    least = (largest + 1) // 2
    divisors = (c for c in range(largest, least - 1, -1) if num_slots % c == 0)
    return next(divisors, largest)
