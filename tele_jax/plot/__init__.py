"""Figures of runs, topologies, tokens and partitions; needs the extra ``plot``.

What shows one thing draws on ``axes=`` and returns them; what needs many panels returns
its figure.
"""

from tele_jax.plot import _needed as _needed
from tele_jax.plot.choosing_k import u_curve as u_curve
from tele_jax.plot.consensus import consensus as consensus
from tele_jax.plot.consensus import consensus_curves as consensus_curves
from tele_jax.plot.curves import curves as curves
from tele_jax.plot.distances import distances as distances
from tele_jax.plot.labels import label_histogram as label_histogram
from tele_jax.plot.live import live as live
from tele_jax.plot.looks import COLOURS as COLOURS
from tele_jax.plot.looks import colours as colours
from tele_jax.plot.looks import style as style
from tele_jax.plot.positions import grid_positions as grid_positions
from tele_jax.plot.runs import convergence as convergence
from tele_jax.plot.space_time import Trace as Trace
from tele_jax.plot.space_time import animate as animate
from tele_jax.plot.space_time import space_time as space_time
from tele_jax.plot.space_time import trace as trace
from tele_jax.plot.tokens import animate_tokens as animate_tokens
from tele_jax.plot.tokens import holders as holders
from tele_jax.plot.tokens import token_paths as token_paths
from tele_jax.plot.topology import gallery as gallery
from tele_jax.plot.topology import topology as topology
