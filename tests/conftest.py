"""Settings of the whole test suite."""

import jax
import pytest

# [k] against [k, d] is a mistake here, never a wish: spell broadcasts out.
jax.config.update("jax_numpy_rank_promotion", "raise")
# For the tests of many devices; the others run on the first.
jax.config.update("jax_num_cpu_devices", 4)
# Compiling takes most of the suite's time. XLA's passes, which rewrite programs, stay
# on; those of LLVM, which make machine code faster, are left out.
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="module", autouse=True)
def _programs_are_forgotten():
    """Every program maps memory, of which a process gets 65,530 pieces on Linux.

    A whole suite in two processes would need more, and die in the compiler.
    """
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def optimized():
    """Programs as users run them, for modules that run long or compare bits.

    Programs are forgotten in between: jit does not compile again for the setting.
    """
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
    jax.clear_caches()
