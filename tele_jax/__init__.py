"""tele_jax: a vectorized simulator of decentralized learning in JAX."""

from tele_jax import analysis as analysis
from tele_jax import gossip as gossip
from tele_jax import graphs as graphs
from tele_jax import metrics as metrics
from tele_jax import mixing as mixing
from tele_jax import network as network
from tele_jax import tables as tables
from tele_jax import tasks as tasks
from tele_jax import theory as theory
from tele_jax import tree as tree
from tele_jax._types import Metrics as Metrics
from tele_jax.algorithms.dsgd import DSGD as DSGD
from tele_jax.algorithms.teleportation import Teleportation as Teleportation
from tele_jax.algorithms.unreliable_dsgd import UnreliableDSGD as UnreliableDSGD
from tele_jax.algorithms.unreliable_teleportation import (
    UnreliableTeleportation as UnreliableTeleportation,
)
from tele_jax.analysis import contraction as contraction
from tele_jax.candidates import Search as Search
from tele_jax.candidates import plan_waves as plan_waves
from tele_jax.connection import connect as connect
from tele_jax.devices import slot_mesh as slot_mesh
from tele_jax.mixing import Mixing as Mixing
from tele_jax.network.failures import Failures as Failures
from tele_jax.network.network import Network as Network
from tele_jax.network.timed import Timed as Timed
from tele_jax.run import Run as Run
from tele_jax.run import concatenate as concatenate
from tele_jax.search import search as search
from tele_jax.simulate import simulate as simulate
from tele_jax.topology import Periodic as Periodic
from tele_jax.topology import Topology as Topology
from tele_jax.topology import from_matrices as from_matrices
from tele_jax.topology import routes_of as routes_of
from tele_jax.topology import to_matrices as to_matrices
