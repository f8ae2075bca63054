"""Gossip between devices: the same numbers, and only the models that are needed."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tele_jax as tele
from tele_jax import gossip, routes, topology
from tele_jax._routing import planned, with_routes
from tests.collectives import compiled, moved

graphs = tele.graphs
KEY = jax.random.key(3)


def received(senders, num_devices):
    """Which models device d needs from device e, by looking at every arrow."""
    own = senders.shape[1] // num_devices
    needed = {(d, e): set() for d in range(num_devices) for e in range(num_devices)}
    for row in senders:
        for slot, sender in enumerate(row):
            needed[slot // own, sender // own].add(sender % own)
    return needed


@pytest.mark.parametrize("num_devices", [2, 3, 8])
@pytest.mark.parametrize("num_senders", [1, 3, 20])
def test_routes_bring_what_every_slot_hears_and_nothing_else(num_devices, num_senders):
    rng = np.random.default_rng(num_senders)
    num_slots = 48
    # Some hear their surroundings only, so that not all models go everywhere.
    far = rng.integers(-6, 7, (2, num_senders, num_slots))
    senders = (np.arange(num_slots) + far) % num_slots
    planned = routes.plan(senders, num_devices)
    own = num_slots // num_devices
    for round_, route in zip(senders, planned, strict=True):
        needed = received(round_, num_devices)
        pools = [[(d, slot) for slot in range(own)] for d in range(num_devices)]
        for leg in route.legs:
            chex.assert_shape(leg.rows, (num_devices, None))
            for d, row in enumerate(np.asarray(leg.rows)):
                to = (d + leg.distance) % num_devices
                assert needed[to, d] <= set(row) <= needed[to, d] | {0}
                pools[to] += [(d, slot) for slot in row]
            longest = max(
                len(needed[(d + leg.distance) % num_devices, d])
                for d in range(num_devices)
            )
            assert leg.rows.shape[1] == longest
        for row, places in zip(round_, np.asarray(route.places), strict=True):
            for slot, (sender, place) in enumerate(zip(row, places, strict=True)):
                device, there = pools[slot // own][place]
                assert device * own + there == sender
        total = sum(leg.rows.shape[1] for leg in route.legs)
        assert routes.models_received(route) == total


@pytest.mark.parametrize(
    ("build", "num_slots", "num_devices"),
    [
        (graphs.complete, 8, 4),  # has no table
        (graphs.ring, 9, 4),  # 4 does not divide 9
        (graphs.star, 8, 4),
        (lambda k: graphs.randomly_relabel(graphs.ring(k), KEY), 8, 4),
    ],
)
def test_what_has_no_routes_gossips_all_the_same(build, num_slots, num_devices):
    graph = build(num_slots)
    slots = jax.random.normal(jax.random.key(0), (num_slots, 3))
    alone = gossip.mix(graph.at(0), slots)
    with jax.set_mesh(tele.slot_mesh(num_devices)):
        assert topology.routes_of(with_routes(graph), 0) is None
        shared = jax.jit(lambda x: gossip.mix(graph.at(0), x))(slots)
    chex.assert_trees_all_close(shared, alone, rtol=1e-6)


def test_nothing_is_planned_where_all_models_are_needed_everywhere():
    everyone = np.arange(8)[:, None] * np.ones((1, 8), int)
    assert routes.plan(everyone[None], 4) is None
    assert routes.plan(np.zeros((1, 1, 9), int), 4) is None
    many = np.broadcast_to(np.arange(8), (65, 1, 8))
    assert routes.plan(many, 4) is None
    assert routes.plan(many[:64], 4) is not None
    assert routes.plan(many[:64], 1) is None


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("num_senders", [2, 20])
def test_gossip_by_routes_is_gossip(dtype, num_senders):
    rng = np.random.default_rng(0)
    shift = rng.integers(-5, 6, (3, num_senders, 32))
    senders = (np.arange(32) + shift) % 32
    weights = rng.dirichlet(np.ones(num_senders), (3, 32)).transpose(0, 2, 1)
    graph = topology.from_senders(senders, weights)
    slots = {
        "a": jax.random.normal(jax.random.key(0), (32, 3, 2)).astype(dtype),
        "b": jax.random.normal(jax.random.key(1), (32,)).astype(dtype),
    }

    def gossip_at(graph, t):
        return gossip.mix(graph.at(t), slots, topology.routes_of(graph, t))

    with jax.set_mesh(tele.slot_mesh(4)):
        routed = with_routes(graph)
        assert isinstance(routed, topology.Routed)
        shared = [jax.jit(gossip_at)(routed, jnp.int32(t)) for t in range(5)]
    for t, found in enumerate(shared):
        matrix = tele.mixing.matrix(graph.at(t))
        for name, leaf in found.items():
            before = np.asarray(slots[name], np.float64)
            expected = np.einsum("jk,j...->k...", matrix, before)
            # One rounding of the sum to the type of the models.
            error = 1e-6 if dtype == jnp.float32 else 2**-8
            np.testing.assert_allclose(
                leaf.astype(jnp.float32), expected, rtol=error, atol=error
            )
            assert leaf.dtype == dtype


def few_edges():
    """Slots that mostly hear their own device, others a different number of models."""
    senders = np.stack([np.arange(32)] * 3)
    senders[1] = (np.arange(32) // 8) * 8
    for slot, sender in [(3, 17), (4, 16), (4, 9), (12, 31)]:
        senders[2, slot] = sender
    return topology.from_senders(senders[None], np.full((1, 3, 32), 1 / 3))


def turns():
    """Nobody hears itself."""
    ahead = (np.arange(32) + 1) % 32
    return topology.from_senders(ahead[None, None], np.ones((1, 1, 32)))


def by_twos():
    """Slots hear the two that follow them, and not themselves."""
    ahead = (np.arange(32) + np.array([[1], [2]])) % 32
    return topology.from_senders(ahead[None], np.full((1, 2, 32), 0.5))


def test_few_arrivals_are_added_to_the_sum_of_the_own():
    (route,) = routes.plan(np.asarray(few_edges().senders), 4)
    places = np.asarray(route.places).reshape(3, 4, 8)
    for device, edges in enumerate(np.asarray(route.edges)):
        found = {tuple(edge) for edge in edges.tolist()} - {(-1, -1)}
        assert found == set(map(tuple, np.argwhere(places[:, device] >= 8)))
    assert planned(graphs.exponential(32), 4).each[0].edges is None
    assert planned(turns(), 4).each[0].edges is None


@pytest.mark.parametrize(
    "build",
    [
        few_edges,
        turns,
        by_twos,
        lambda: graphs.ring(32),
        lambda: graphs.exponential(32),
    ],
)
def test_a_model_that_diverged_reaches_those_who_hear_it_only(build):
    graph = build()
    slots = jnp.ones((32, 3))
    with jax.set_mesh(tele.slot_mesh(4)):
        routed = with_routes(graph)

        @jax.jit
        def mix(graph, slots):
            return gossip.mix(graph.at(0), slots, topology.routes_of(graph, 0))

        for lost in range(32):
            mixed = mix(routed, slots.at[lost].set(jnp.nan))
            hears = np.any(np.asarray(graph.senders[0]) == lost, axis=0)
            np.testing.assert_array_equal(np.isnan(mixed).all(1), hears)


@pytest.mark.parametrize(
    ("graph", "permuted"),
    [
        # One model to either neighbour.
        (graphs.ring(32), {"1,3"}),
        # Partners 1 and 2 are at home for some slots, 4, 8 and 16 for none.
        (graphs.one_peer_exponential(32), {"1,3", "2,3", "4,3"}),
        # A column of the torus is on every device, a row of it goes around.
        (graphs.torus(8, 8), {"8,3"}),
    ],
)
def test_only_models_that_are_needed_travel(graph, permuted, monkeypatch):
    text = compiled(graph, monkeypatch)
    assert set(moved(text, "collective-permute")) == permuted
    assert not moved(text, "all-gather")


@pytest.mark.parametrize(
    "build",
    [
        lambda: graphs.chain(32),
        lambda: graphs.hypercube(32),
        lambda: graphs.exponential(64),
        lambda: graphs.one_peer_exponential(32),
        lambda: graphs.base_graph(48, 1),
        lambda: graphs.random_regular(64, 4, 0),
        lambda: graphs.erdos_renyi(64, 0.05, 0, allow_disconnected=True),
    ],
)
def test_what_travels_is_what_is_told(build, monkeypatch):
    """Rows of models in the permutes of all rounds of the compiled program."""
    graph = build()
    text = compiled(graph, monkeypatch)
    rows = [int(shape.partition(",")[0]) for shape in moved(text, "collective-permute")]
    told = tele.analysis.models_between_devices(graph, 8)
    assert sum(rows) == np.sum(told)
    assert not moved(text, "all-gather")


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (graphs.ring, [2]),
        (graphs.one_peer_exponential, [1, 2, 4, 8, 8, 8]),
        (graphs.complete, [1.75]),
        (graphs.star, [56]),
        (lambda k: graphs.random_matching(k, KEY), [56]),
    ],
)
def test_the_models_of_the_page(build, told):
    found = tele.analysis.models_between_devices(build(64), 8)
    np.testing.assert_array_equal(found, told)


def test_the_models_of_a_device_are_not_copied_to_add_the_few_that_arrive(monkeypatch):
    text = compiled(graphs.ring(32), monkeypatch)
    assert "f32[4,3]" in text  # those of a device
    assert "f32[6,3]" not in text  # and with the two that arrive


def test_the_mean_of_all_is_one_sum(monkeypatch):
    text = compiled(graphs.complete(32), monkeypatch)
    assert "3" in moved(text, "all-reduce")  # one model; the mean of losses has no axis
    assert not moved(text, "all-gather")


def test_random_rounds_bring_all_models_everywhere(monkeypatch):
    text = compiled(
        graphs.randomly_relabel(graphs.ring(32), jax.random.key(3)), monkeypatch
    )
    assert moved(text, "all-gather")
