"""What a topology costs and how fast it mixes."""

from tele_jax.analysis.cost import Degrees as Degrees
from tele_jax.analysis.cost import degrees as degrees
from tele_jax.analysis.cost import models_between_devices as models_between_devices
from tele_jax.analysis.footprint import Memory as Memory
from tele_jax.analysis.footprint import memory as memory
from tele_jax.analysis.speed import Estimate as Estimate
from tele_jax.analysis.speed import contraction as contraction
from tele_jax.analysis.speed import exact_after as exact_after
from tele_jax.analysis.speed import expected_contraction as expected_contraction
from tele_jax.analysis.summary import Summary as Summary
from tele_jax.analysis.summary import predicted_rounds as predicted_rounds
from tele_jax.analysis.summary import summary as summary
from tele_jax.analysis.summary import table as table
from tele_jax.analysis.trajectory import Trajectory as Trajectory
from tele_jax.analysis.trajectory import consensus_errors as consensus_errors
