"""What can be derived: rates, the best number of active nodes, stationary states.

Rates are bounds of an order, with all constants set to 1: they say how an error grows
with n, k and T, not what it will be.
"""

from tele_jax.theory.choice import FAMILIES as FAMILIES
from tele_jax.theory.choice import Choice as Choice
from tele_jax.theory.choice import Family as Family
from tele_jax.theory.choice import best_k as best_k
from tele_jax.theory.choice import closed_form_k as closed_form_k
from tele_jax.theory.choice import table as table
from tele_jax.theory.constants import Constants as Constants
from tele_jax.theory.constants import Sampled as Sampled
from tele_jax.theory.constants import exact_constants as exact_constants
from tele_jax.theory.constants import sampled_constants as sampled_constants
from tele_jax.theory.rates import Rate as Rate
from tele_jax.theory.rates import dsgd as dsgd
from tele_jax.theory.rates import mixing_speed as mixing_speed
from tele_jax.theory.rates import teleportation as teleportation
from tele_jax.theory.stationary import (
    stationary_disagreement as stationary_disagreement,
)
from tele_jax.theory.stationary import stationary_error as stationary_error
from tele_jax.theory.stationary import variance_factor as variance_factor
