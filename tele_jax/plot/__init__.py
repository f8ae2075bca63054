"""Figures: methods against each other, topologies, who owns which labels."""

from tele_jax.plot.consensus import consensus as consensus
from tele_jax.plot.consensus import consensus_curves as consensus_curves
from tele_jax.plot.curves import COLOURS as COLOURS
from tele_jax.plot.curves import curves as curves
from tele_jax.plot.labels import label_histogram as label_histogram
from tele_jax.plot.live import live as live
from tele_jax.plot.positions import grid_positions as grid_positions
from tele_jax.plot.space_time import Trace as Trace
from tele_jax.plot.space_time import animate as animate
from tele_jax.plot.space_time import space_time as space_time
from tele_jax.plot.space_time import trace as trace
from tele_jax.plot.topology import gallery as gallery
from tele_jax.plot.topology import topology as topology
