"""Meshes that are not slot_mesh(): which are refused, and which are somebody's own."""

import chex
import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType

import tele_jax as tele
from tele_jax import devices
from tests import helpers


@pytest.mark.parametrize(
    ("axis", "kind"),
    [
        ("nodes", AxisType.Auto),
        ("nodes", AxisType.Explicit),
        ("slots", AxisType.Explicit),
    ],
)
def test_a_mesh_without_an_auto_axis_of_slots_is_refused(axis, kind):
    with (
        jax.set_mesh(jax.make_mesh((2,), (axis,), axis_types=(kind,))),
        pytest.raises(
            ValueError, match=f"the axes '{axis}', expected an Auto axis.*slot_mesh"
        ),
    ):
        devices.stack(jnp.ones(3), 4)


@pytest.mark.parametrize(
    "axes", [{"runs": 2}, {"runs": 2, "slots": 3}], ids=["runs", "runs and slots"]
)
def test_somebody_may_share_runs_among_devices(axes):
    """Within a shard_map over another axis devices compute their runs' slots."""
    keys = jax.random.split(jax.random.key(0), 2)

    @jax.vmap
    def slots(key):
        scale = jax.random.normal(key)
        return devices.over_slots(jnp.multiply, scale, jnp.arange(3.0))

    alone = slots(keys)
    runs = jax.sharding.PartitionSpec("runs")
    kinds = (AxisType.Auto,) * len(axes)
    with jax.set_mesh(jax.make_mesh((*axes.values(),), (*axes,), axis_types=kinds)):
        shared = jax.jit(
            jax.shard_map(slots, in_specs=runs, out_specs=runs, axis_names={"runs"})
        )(keys)
    chex.assert_trees_all_equal(shared, alone)


def test_whole_runs_may_be_shared_among_devices():
    task = helpers.quadratic(8, dim=600)
    rates, starts = jnp.linspace(0.1, 0.2, 2), jnp.ones((2, 600))

    @jax.vmap
    def last(rate, start):  # a part of every piece of work differs between devices
        algorithm = tele.DSGD(tele.graphs.ring(8), rate, slots_at_once=3)
        key = jax.random.key(1)
        run = tele.simulate(algorithm, task, start, key, num_rounds=3)
        return run.metrics["loss"][-1]

    runs = jax.sharding.PartitionSpec("runs")
    with jax.set_mesh(jax.make_mesh((2,), ("runs",), axis_types=(AxisType.Auto,))):
        shared = jax.jit(jax.shard_map(last, in_specs=runs, out_specs=runs))
        found = shared(rates, starts)
    chex.assert_trees_all_close(found, last(rates, starts), rtol=1e-6)
