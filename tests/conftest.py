"""Settings of the whole test suite."""

import atexit
import os
import shutil
import tempfile

import jax
import pytest

# Programs are kept on disk while the suite runs: its processes share them, and what a
# module forgets the next need not compile again.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["TELE_JAX_TEST_PROGRAMS"] = tempfile.mkdtemp(prefix="tele_jax-programs-")
    atexit.register(shutil.rmtree, os.environ["TELE_JAX_TEST_PROGRAMS"], True)
jax.config.update("jax_compilation_cache_dir", os.environ["TELE_JAX_TEST_PROGRAMS"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# [k] against [k, d] is a mistake here, never a wish: spell broadcasts out.
jax.config.update("jax_numpy_rank_promotion", "raise")
# For the tests of many devices; the others run on the first.
jax.config.update("jax_num_cpu_devices", 8)
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
