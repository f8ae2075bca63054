"""Settings of the whole test suite."""

import jax

# [k] against [k, d] is a mistake here, never a wish: spell broadcasts out.
jax.config.update("jax_numpy_rank_promotion", "raise")
