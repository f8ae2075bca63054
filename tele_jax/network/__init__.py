"""Networks that are not ideal: what sending and computing take, in simulated time."""

from tele_jax.network.collective import all_reduce_seconds as all_reduce_seconds
from tele_jax.network.compute import Compute as Compute
from tele_jax.network.compute import constant as constant
from tele_jax.network.compute import log_normal as log_normal
from tele_jax.network.compute import shifted_exponential as shifted_exponential
from tele_jax.network.failures import departures as departures
from tele_jax.network.failures import outages as outages
from tele_jax.network.failures import planned as planned
from tele_jax.network.links import Link as Link
from tele_jax.network.links import Links as Links
from tele_jax.network.links import by_rule as by_rule
from tele_jax.network.links import neighbours_of as neighbours_of
from tele_jax.network.links import preferred as preferred
from tele_jax.network.links import same as same
from tele_jax.network.places import clusters as clusters
from tele_jax.network.places import matrices as matrices
from tele_jax.network.places import plane as plane
from tele_jax.network.still import Still as Still
