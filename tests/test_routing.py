"""Which topologies have routes between devices, and what is remembered of them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import tele_jax as tele
from tele_jax import _routing, gossip, topology
from tele_jax._routing import planned, with_routes
from tests import helpers
from tests.collectives import compiled, moved

graphs = tele.graphs


def test_a_plan_is_remembered_as_long_as_its_arrays():
    graph = graphs.lazy(graphs.ring(8))
    before = len(_routing._PLANNED)
    assert planned(graph, 2) is planned(graph, 2)
    assert planned(graph, 4) is not planned(graph, 2)
    assert len(_routing._PLANNED) == before + 2
    del graph
    assert len(_routing._PLANNED) == before


def test_without_a_mesh_nothing_is_planned():
    graph = graphs.ring(8)
    assert with_routes(graph) is graph
    assert topology.routes_of(graph, 0) is None


@struct.dataclass
class Backwards(topology.Periodic):
    """A topology that is not what is written in its table: as a user may make one."""

    def at(self, t):
        return super().at(self.period - 1 - jnp.mod(t, self.period))


def in_turns():
    """Rounds that differ, on 16 slots."""
    return graphs.one_peer_exponential(16)


@struct.dataclass
class Told:
    """A user's ring: it asks Python, and says how it is called."""

    name: str = struct.field(pytree_node=False, default="told")
    num_slots = 16
    period = 1

    def at(self, t):
        table = jax.ShapeDtypeStruct((3, 16), jnp.int32)
        ring = (np.arange(16) + np.array([[0], [1], [-1]])) % 16
        senders = jax.pure_callback(lambda _: np.int32(ring), table, t)
        return tele.mixing.Mixing(senders, jnp.full((3, 16), 1 / 3))


WRAPPED = {
    "lazy": lambda: graphs.lazy(in_turns()),
    "relabelled": lambda: graphs.relabel(graphs.ring(16), np.roll(np.arange(16), 3)),
    "restricted": lambda: graphs.restrict(graphs.ring(16), np.arange(16) != 5),
    "repeated": lambda: graphs.repeat(in_turns(), 3),
    "repeated often": lambda: graphs.repeat(graphs.ring(16), 100),
    "lazy and repeated": lambda: graphs.repeat(graphs.lazy(in_turns()), 2),
    "side by side": lambda: graphs.disjoint_union(
        graphs.one_peer_exponential(8), graphs.ring(8)
    ),
    "asking Python": Told,
    "of NumPy": lambda: jax.device_get(graphs.ring(16)),
    "of NumPy, repeated": lambda: graphs.repeat(jax.device_get(in_turns()), 2),
    "of a user": lambda: Backwards(in_turns().senders, in_turns().weights),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_topologies_made_of_others_have_routes(name):
    graph = WRAPPED[name]()
    slots = jax.random.normal(jax.random.key(0), (16, 3))

    @jax.jit
    def mix(graph, t):
        return gossip.mix(graph.at(t), slots, topology.routes_of(graph, t))

    alone = [mix(graph, jnp.int32(t)) for t in range(6)]
    with jax.set_mesh(tele.slot_mesh(4)):
        routed = with_routes(graph)
        assert isinstance(routed, topology.Routed)
        shared = [mix(routed, jnp.int32(t)) for t in range(6)]
    chex.assert_trees_all_close(shared, alone, atol=1e-6)


@pytest.mark.parametrize("name", WRAPPED)
def test_of_topologies_made_of_others_only_what_is_needed_travels(name, monkeypatch):
    text = compiled(WRAPPED[name](), monkeypatch)
    # Models are rows of three numbers; of unions the table of weights is brought, too.
    assert not [shape for shape in moved(text, "all-gather") if shape.endswith(",3")]
    # One or two rows of three numbers; 16 slots on 8 devices have two each.
    assert set(moved(text, "collective-permute")) <= {"1,3", "2,3"}


def test_a_topology_with_routes_is_what_it_was_else():
    with jax.set_mesh(tele.slot_mesh(4)):
        ring = graphs.ring(16)
        routed = with_routes(ring)
        assert routed.weights is ring.weights
        assert with_routes(Told()).name == "told"
        assert (routed.num_slots, routed.period) == (16, 1)


def test_nothing_is_looked_at_where_nothing_can_be_planned():
    class Forbidden:
        num_slots, period = 16, 65

        def at(self, t):
            raise AssertionError

    for num_slots, period, num_devices in ((16, 65, 4), (15, 1, 4), (16, 1, 1)):
        Forbidden.num_slots, Forbidden.period = num_slots, period
        assert planned(Forbidden(), num_devices) is None


@pytest.mark.parametrize("what", ["weights", "senders"])
def test_topologies_may_be_swept_under_a_mesh(what):
    """Who hears whom is known on the host, and so routed, where only weights differ."""
    graph, routed = graphs.ring(8), []
    algorithm = tele.DSGD(graph, 0.1)

    def go(leaf):
        swept = algorithm.replace(topology=graph.replace(**{what: leaf}))
        routed.append(isinstance(with_routes(swept).topology, topology.Routed))
        return tele.simulate(
            swept, helpers.quadratic(8), jnp.ones(3), jax.random.key(0), num_rounds=3
        ).state.params

    leaf = getattr(graph, what)
    alone = go(leaf)
    routed.clear()
    with jax.set_mesh(tele.slot_mesh(4)):
        shared = jax.vmap(go)(jnp.stack([leaf, leaf]))
    assert routed == [what == "weights"]
    chex.assert_trees_all_close(shared, jnp.stack([alone, alone]), rtol=1e-6)


def test_chunks_under_routes_share_one_program():
    def go(rate, **settings):
        algorithm = tele.DSGD(graphs.one_peer_exponential(8), rate)
        return tele.simulate(
            algorithm, task, jnp.ones(3), jax.random.key(0), num_rounds=3, **settings
        )

    task = helpers.quadratic(8, noise=0.5)
    with jax.set_mesh(tele.slot_mesh(4)):
        first = go(0.1)
        go(0.1, resume=first)
        with helpers.compilations() as compiled_again:
            go(0.2, resume=go(0.2))
    assert compiled_again == []


def test_a_plan_made_within_a_jit_may_be_used_after_it():
    graph, task = graphs.ring(8), helpers.quadratic(8)

    def go(key):
        algorithm = tele.DSGD(graph, 0.1)
        return tele.simulate(algorithm, task, jnp.ones(3), key, num_rounds=3).state

    key = jax.random.key(0)
    with jax.set_mesh(tele.slot_mesh(4)):
        within = jax.jit(go)(key)
        chex.assert_trees_all_close(go(key), within, rtol=1e-6)
