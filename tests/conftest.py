"""Settings of the whole test suite."""

import jax

# [k] against [k, d] is a mistake here, never a wish: spell broadcasts out.
jax.config.update("jax_numpy_rank_promotion", "raise")
# For the tests of many devices; the others run on the first.
jax.config.update("jax_num_cpu_devices", 4)
