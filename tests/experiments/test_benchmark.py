"""What the benchmark makes of its measurements; those are not tested."""

import json
import math
import sys
from functools import partial
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest

import tele_jax as tele
from experiments import benchmark
from experiments.benchmarks import (
    convolving,
    floors,
    footprint,
    measure,
    peers,
    sharing,
    summary,
)
from tele_jax.tasks.models import MLP, Softmax
from tests.tasks.models.test_deep_models import ReferenceVGG11
from tests.tasks.models.test_models import ReferenceLeNet


def _records():
    slow = measure.quotient(np.array([3.0, 4.0, 5.0]), np.ones(3))
    return [
        measure.judged({"topology": "ring", "slots": 64, "copy, ms": 0.5, **slow}, 8.0),
        measure.judged({"topology": "star", **slow}, at_most=8.0),
        {"topology": "chain", **slow},
        measure.judged({"topology": "counted", "ratio": 2.0}, at_most=4.0),
        {"topology": "none at all", "target": "at most 0 programs", "met": "yes"},
    ]


def test_a_ratio_has_its_quartiles_and_is_judged():
    least, most, free, *_ = _records()
    assert (least["ratio"], least["quartiles"]) == (4.0, "3.5 to 4.5")
    assert (least["target"], least["met"]) == ("at least 8", "no")
    assert (most["target"], most["met"]) == ("at most 8", "yes")
    assert "target" not in free
    assert measure.markdown([most]).splitlines()[0] == (
        "| topology | ratio | quartiles | target | met |"
    )


def test_the_figure_has_every_limit_at_one():
    ratios = summary.rows({"Gossip": _records(), "Building": [{"seconds": 1.0}]})
    told = ["ring, slots 64", "star", "chain", "counted", "none at all"]
    assert [row["of"] for row in ratios] == told
    drawn = summary.figure(ratios)
    (axes,) = drawn.axes
    middles = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(middles, [2.0, 0.5, 0.5])  # 8 / 4 missed, 4 / 8 met
    assert summary.figure(ratios[2:3]) is None


def test_a_benchmark_writes_its_ratios(monkeypatch, tmp_path, capsys):
    title = "Time of gossip over that of a copy"
    monkeypatch.setitem(benchmark.SECTIONS, title, ("gossip", lambda _: _records()))
    monkeypatch.setattr(measure, "num_cores", lambda: 8)  # as the tests have devices
    place = tmp_path / "benchmark"
    monkeypatch.setattr(
        sys, "argv", ["benchmark", "--only", "gossip", "--run", str(place)]
    )
    benchmark.main()
    written = pq.read_table(place / "ratios.parquet").column("ratio")
    assert written.to_pylist() == [4, 4, 4, 2, None]
    assert (place / "ratios.png").stat().st_size > 1000
    assert title in json.loads((place / "tables.json").read_text())["tables"]
    row = f"| {title} | star | 4 | 3.5 to 4.5 | at most 8 | yes |"
    unjudged = f"| {title} | chain | 4 | 3.5 to 4.5 |  |  |"
    for told in ((place / "tables.md").read_text(), capsys.readouterr().out):
        assert {row, unjudged} <= set(told.splitlines())


def test_deep_networks_need_a_pytorch_to_compare_with(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "--only", "deep"])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    assert ended.value.code == 2
    assert "got only=deep, expected torch_python, too." in capsys.readouterr().err


def test_programs_of_the_cpu_are_not_compared_with_a_gpu(monkeypatch, tmp_path, capsys):
    for name in ("torch_vmap", "jax_naive"):
        (tmp_path / f"{name}.py").touch()

    def names():
        return [peer.name for peer in peers.find(tmp_path, Path(sys.executable))]

    found = names()
    assert found[:2] == ["torch_vmap", "torch_vmap --compile"]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert names() == found[2:]
    assert "left out, torch_vmap --compile computes on the CPU" in (
        capsys.readouterr().err
    )


def test_bytes_are_read_from_a_program():
    text = """
      %a = f32[2,3]{1,0} collective-permute(f32[2,3]{1,0} %x), channel_id=1
      %b = (f32[4]{0}, f32[4]{0}) collective-permute-start(f32[4]{0} %x)
      %c = f32[4]{0} collective-permute-done((f32[4]{0}, f32[4]{0}) %b)
      %d = (f32[8,3]{1,0}, f32[8]{0}) all-gather(f32[2,3]{1,0} %x, f32[2]{0} %y)
      %e = f32[] all-reduce(f32[] %x), to_apply=%sum
      %f = s32[8]{0} all-gather(s32[2]{0} %x)
    """
    permuted, gathered, reduced = 6 + 4, 24 + 8, 1
    expected = 4 * (permuted + 3 / 4 * gathered + 2 * 3 / 4 * reduced)
    assert sharing.bytes_moved(text, 4) == expected


@pytest.mark.parametrize("build", [tele.graphs.ring, tele.graphs.complete])
def test_what_a_program_moves_is_what_is_told(build):
    row = sharing._row("strong", "some", build, 16, 8)
    assert row["met"] == "yes"
    assert row["ratio"] >= 1
    assert row["ms at 1 GB/s"] == pytest.approx(row["MB to a device"])


def test_what_was_measured_names_no_row():
    records = footprint.footprint()
    (row, *_) = summary.rows({"Memory": records})
    assert row["of"] == "DSGD, 64 LeNets"
    # XLA's count is between 0.75 and 1.25 times the estimate.
    assert all(0.75 < record["ratio"] < 1.25 for record in records)


def test_the_convolutions_of_slots_are_those_of_one_model():
    keys = jax.random.split(jax.random.key(0), 2)
    inputs = jax.random.normal(keys[0], (2, 3, 4, 4, 5))
    kernel = jax.random.normal(keys[1], (3, 3, 5, 6))
    conv = tele.tasks.conv_general_dilated
    slots = convolving.of_slots(
        partial(convolving.gradients, conv), (jnp.stack([kernel] * 2), inputs)
    )()
    one = convolving.gradients(
        jax.lax.conv_general_dilated, kernel, inputs.reshape(6, 4, 4, 5)
    )
    summed = jax.tree.map(lambda leaf: leaf.sum(0), slots)
    chex.assert_trees_all_close(summed, one, rtol=1e-4)


def _multiply_adds(module, image_shape):
    """Of each dense layer and convolution of plain flax, for one image."""
    images = jnp.zeros((1, *image_shape))
    params = jax.eval_shape(module.init, jax.random.key(0), images)
    layers = {"conv_general_dilated", "dot_general"}
    return [
        # A kernel's last axis are the features, each of which reads all the others.
        equation.outvars[0].aval.size * math.prod(equation.invars[1].aval.shape[:-1])
        for equation in jax.make_jaxpr(module.apply)(params, images).eqns
        if equation.primitive.name in layers
    ]


@pytest.mark.parametrize(
    ("name", "module", "image_shape"),
    [
        ("softmax", Softmax(), (28, 28)),
        ("mlp", MLP((200, 200)), (28, 28)),
        ("lenet", ReferenceLeNet(), (28, 28)),
        ("vgg11", ReferenceVGG11(), (32, 32, 3)),
    ],
)
def test_flops_counted_by_hand_are_those_of_plain_flax(name, module, image_shape):
    layers = _multiply_adds(module, image_shape)
    assert floors.FLOPS[name] == 2 * (3 * sum(layers) - layers[0])


def test_the_floor_is_a_step_and_gossip():
    ceiling = floors.Ceiling(flops=np.array([10.0, 1.0]), bandwidth=np.array([2.0] * 2))
    # 20 FLOPs take 2 and 20 s, 6 bytes 3 s, and the 4 bytes of gossip 2 s.
    found = floors.floor_seconds(ceiling, flops=20, step_bytes=6, gossip_bytes=4)
    np.testing.assert_array_equal(found, [5.0, 22.0])
