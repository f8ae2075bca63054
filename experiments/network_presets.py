"""Three real networks, from published measurements; what a step takes is our choice."""

import dataclasses
from collections.abc import Callable

import numpy as np

import tele_jax as tele
from tele_jax import network

SECONDS_PER_STEP = 0.1
"""Our choice: a mini-batch of a small network on a data centre's accelerator."""
SLOWER_AT_HOME = 10.0
"""Our choice: how much longer it takes at home, in the median."""
SPREAD_AT_HOME = 0.65
"""σ of the logarithm of the speeds at home, our choice: 95 % lie within a factor of 13,
about the range of phones in the device traces of FedScale (F. Lai et al., ICML 2022,
arXiv 2105.11367) as others report it."""

RTT_MS = np.array(
    [
        [0.264, 72.50, 70.51, 152.42],
        [72.50, 0.297, 127.28, 100.86],
        [70.51, 127.28, 0.113, 204.44],
        [152.42, 100.86, 204.44, 0.098],
    ]
)
"""Ping between Virginia, Oregon, Ireland and Tokyo, average times: measurements of 2020
in github.com/vitorenesduarte/fantoch, folder latency_aws. Diagonal: within one."""
GBIT_PER_S = np.array(
    [
        [5.0, 0.79, 1.05, 0.524],
        [0.79, 5.0, 0.482, 0.523],
        [1.05, 0.482, 5.0, 0.465],
        [0.524, 0.523, 0.465, 5.0],
    ]
)
"""Between them: scheduler/generate_sim_com_matrices.py of github.com/DS3Lab/DT-FM, for
B. Yuan et al., NeurIPS 2022, arXiv 2206.01288; we read its numbers as Gbit/s. Within
one: the limit of a single flow in the documentation of Amazon EC2's bandwidth."""
BYTES_PER_GBIT = 1e9 / 8

HOME_UPLOAD = 20e6 / 8
"""Bytes per second: 20 Mbit/s, the FCC's benchmark for broadband since March 2024."""
HOME_LATENCY = 0.05
"""Seconds from home to home. Our choice: half of a ping of 100 ms."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """A network whose nodes are as many as one likes."""

    name: str
    build: Callable[[int, float], tele.Network]
    """(n, factor) to the network, its bandwidths times the factor."""


def _data_centre(num_nodes: int, factor: float) -> tele.Network:
    # One way of a ping of 0.264 ms within us-east-1; 10 Gbit/s for a single flow.
    del num_nodes
    links = network.same(RTT_MS[0, 0] / 2e3, factor * 10 * BYTES_PER_GBIT)
    return tele.Network(links, network.constant(SECONDS_PER_STEP))


def _four_regions(num_nodes: int, factor: float) -> tele.Network:
    sizes = np.full(4, num_nodes // 4) + (np.arange(4) < num_nodes % 4)
    links = network.clusters(sizes, RTT_MS / 2e3, factor * GBIT_PER_S * BYTES_PER_GBIT)
    return tele.Network(links, network.constant(SECONDS_PER_STEP))


def _at_home(num_nodes: int, factor: float) -> tele.Network:
    rng = np.random.default_rng(0)
    median = SECONDS_PER_STEP * SLOWER_AT_HOME
    speeds = median * np.exp(SPREAD_AT_HOME * rng.standard_normal(num_nodes))
    links = network.same(HOME_LATENCY, factor * HOME_UPLOAD)
    return tele.Network(links, network.constant(speeds))


PRESETS = (
    Preset("one data centre", _data_centre),
    Preset("four regions", _four_regions),
    Preset("volunteers at home", _at_home),
)
