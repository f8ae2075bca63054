"""How many node-steps a second: 28 x 28 images, batch 32, DSGD on a ring."""

import sys
from collections.abc import Sequence

import numpy as np
from jax.sharding import Mesh

from experiments.benchmarks import measure, peers, work
from experiments.benchmarks.measure import Record
from experiments.benchmarks.peers import Peer


def lenet(num_nodes: int, others: Sequence[Peer], often: peers.Often) -> list[Record]:
    """One line for every baseline.

    Ours shares the slots between all devices; the first baseline is ours on one. The
    second column of ours is LeNet with GroupNorm, our default; the baselines have
    none. There are targets for the first of the programs one would write in JAX, and
    for the fastest that one would write in PyTorch.
    """

    def ours(net: work.Net, mesh: Mesh) -> peers.Rate:
        return often.ours(work.ours(net, num_nodes, often.rounds, mesh), num_nodes)

    mesh, plain = work.mesh(num_nodes), work.lenet(group_norm=False)
    baselines = {"tele_jax, one device": ours(plain, work.mesh(1))}
    for vectorize in ("vmap", "map"):
        program = work.by_lax_conv(num_nodes, often.rounds, vectorize)
        baselines[f"{vectorize}(lax.conv)"] = often.ours(program, num_nodes)
    for peer in others:
        baselines[peer.name] = often.peer(peer, plain.name, num_nodes)
    targets = {"vmap(lax.conv)": 5.0, peers.STRONGEST: 1.5}
    normed = ours(work.lenet(group_norm=True), mesh)
    compared = peers.compare(
        ours(plain, mesh), baselines, "GroupNorm", normed, often.passes
    )
    return [_told("LeNet", num_nodes, record, targets) for record in compared]


def mlp(num_nodes: int, others: Sequence[Peer], often: peers.Often) -> list[Record]:
    """The same for an MLP, whose second column of ours is one device."""
    net = work.mlp()
    ours, alone = (
        often.ours(work.ours(net, num_nodes, often.rounds, mesh), num_nodes)
        for mesh in (work.mesh(num_nodes), work.mesh(1))
    )
    baselines = {
        peer.name: often.peer(peer, net.name, num_nodes)
        for peer in _without_convolutions(others)
    }
    compared = peers.compare(ours, baselines, "one device", alone, often.passes)
    targets = {peers.STRONGEST: 1.2}
    return [_told("MLP", num_nodes, record, targets) for record in compared]


def _without_convolutions(others: Sequence[Peer]) -> list[Peer]:
    """Each program once: those that differ in how a convolution is written are one."""
    return [peer for peer in others if not peer.name.endswith(("patches", "band"))]


def _told(
    model: str, num_nodes: int, record: Record, targets: dict[str, float]
) -> Record:
    name = record["baseline"]
    print(f"  {model}, n={num_nodes}, {name}: {record['ratio']:.2f}", file=sys.stderr)
    record = {"model": model, "nodes": num_nodes, **record}
    if name in targets:
        record = measure.judged(record, at_least=targets[name])
    return record


def checksums(others: Sequence[Peer], num_nodes: int = 16) -> list[Record]:
    """Sums after 5 rounds, and how far those of other programs are from ours.

    The MLP's sum differs in its third digit, squares in their ninth: a few units whose
    input is zero up to rounding are on in one program and off in the other.
    """
    return [
        *_checksums(work.lenet(group_norm=False), others, num_nodes),
        *_checksums(work.mlp(), _without_convolutions(others), num_nodes),
    ]


def _checksums(net: work.Net, others: Sequence[Peer], num_nodes: int) -> list[Record]:
    rounds = 5
    meshes = {"ours": work.mesh(num_nodes), "tele_jax, one device": work.mesh(1)}
    found = {
        name: work.checksum(work.ours(net, num_nodes, rounds, mesh)())
        for name, mesh in meshes.items()
    }
    ours = found["ours"]
    if net.name == "lenet":
        for vectorize in ("vmap", "map"):
            slots = work.by_lax_conv(num_nodes, rounds, vectorize)()
            found[f"{vectorize}(lax.conv)"] = work.checksum(slots)
    for peer in others:
        try:
            found[peer.name] = peers.checksum(peer, net.name, num_nodes)
        except RuntimeError as error:
            print(f"left out, {error}", file=sys.stderr)
    return [
        {
            "program": name,
            "model": net.name,
            "nodes": num_nodes,
            "sum": f"{sums[0]:.6f}",
            "sum of squares": f"{sums[1]:.6f}",
            "relative difference": float(
                np.max(np.abs(np.array(sums) / np.array(ours) - 1))
            ),
        }
        for name, sums in found.items()
    ]
