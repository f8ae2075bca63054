"""Counting what XLA compiles: a study should compile once per shape, and no more."""

import contextlib
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def count_compilations() -> Iterator[list[float]]:
    """A list that gets, for every program that the block compiles, the seconds it took.

    Small array operations outside of ``jit`` are programs as well.

    >>> import jax.numpy as jnp
    >>> double = jax.jit(lambda x: 2 * x)
    >>> one, two = jnp.float32(1), jnp.float32(2)
    >>> with count_compilations() as compiled:
    ...     _ = double(one), double(two)
    >>> len(compiled)
    1
    """
    compiled: list[float] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
