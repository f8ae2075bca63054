"""How many node-steps a second: LeNet on 28 x 28 images, batch 32, DSGD on a ring."""

import sys
from functools import partial

import numpy as np

from experiments.benchmarks import measure, peers, work
from experiments.benchmarks.measure import Program, Record


def throughput(
    num_nodes: int,
    others: list[peers.Peer],
    *,
    rounds: int,
    repeats: int,
    passes: int,
) -> list[Record]:
    """One line for every baseline.

    Ours shares the slots between all devices; the first baseline is ours on one. The
    second column of ours is LeNet with GroupNorm, our default; the baselines have
    none. There are targets for the first of the programs one would write in JAX, and
    for the fastest that one would write in PyTorch.
    """

    def timed(program: Program) -> peers.Rate:
        return partial(measure.rate, program, num_nodes * rounds, repeats)

    mesh, alone = work.mesh(num_nodes), work.mesh(1)
    ours = timed(work.ours(num_nodes, rounds, group_norm=False, mesh=mesh))
    normed = timed(work.ours(num_nodes, rounds, group_norm=True, mesh=mesh))
    baselines = {
        "tele_jax, one device": timed(
            work.ours(num_nodes, rounds, group_norm=False, mesh=alone)
        )
    }
    for vectorize in ("vmap", "map"):
        program = work.by_lax_conv(num_nodes, rounds, vectorize)
        baselines[f"{vectorize}(lax.conv)"] = timed(program)
    for peer in others:
        baselines[peer.name] = partial(peers.rate, peer, num_nodes, rounds, repeats)

    records = []
    for record in peers.compare(ours, baselines, "GroupNorm", normed, passes):
        name, record["nodes"] = record["baseline"], num_nodes
        if (least := _expected(name, num_nodes)) is not None:
            record = measure.judged(record, at_least=least)
        records.append(record)
        print(f"  n={num_nodes} {name}: {record['ratio']:.2f}", file=sys.stderr)
    return records


def _expected(name: str, num_nodes: int) -> float | None:
    """How many times faster we should be; None for the baselines with no target."""
    if name == "vmap(lax.conv)":
        return 5.0
    if name == "torch_vmap --compile":
        return 1.2 if num_nodes >= 64 else 1.0
    return None


def checksums(others: list[peers.Peer], num_nodes: int = 16) -> list[Record]:
    """Sums after 5 rounds, and how far those of other programs are from ours."""
    rounds = 5
    meshes = {"ours": work.mesh(num_nodes), "tele_jax, one device": work.mesh(1)}
    found = {
        name: work.checksum(work.ours(num_nodes, rounds, group_norm=False, mesh=mesh)())
        for name, mesh in meshes.items()
    }
    ours = found["ours"]
    for vectorize in ("vmap", "map"):
        slots = work.by_lax_conv(num_nodes, rounds, vectorize)()
        found[f"{vectorize}(lax.conv)"] = work.checksum(slots)
    for peer in others:
        try:
            found[peer.name] = peers.checksum(peer, num_nodes)
        except RuntimeError as error:
            print(f"left out, {error}", file=sys.stderr)
    return [
        {
            "program": name,
            "nodes": num_nodes,
            "sum": f"{sums[0]:.6f}",
            "sum of squares": f"{sums[1]:.6f}",
            "relative difference": float(
                np.max(np.abs(np.array(sums) / np.array(ours) - 1))
            ),
        }
        for name, sums in found.items()
    ]
