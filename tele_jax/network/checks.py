"""What ``simulate`` refuses about networks and failures, before any work."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tele_jax.network import _numbers as numbers
from tele_jax.network.failures import check_numbers
from tele_jax.network.links import ByRule
from tele_jax.network.network import Network
from tele_jax.network.timed import Timed


def check_network(algorithm: Any, num_nodes: int) -> None:
    """Refuse parts of another kind, and numbers out of range, as far as they are known.

    What is traced, as under ``vmap``, is not looked at.
    """
    inner = algorithm
    if isinstance(algorithm, Timed):
        inner = algorithm.algorithm
        _check_inner(inner)
        _check_parts(algorithm.network, num_nodes)
    if not hasattr(inner, "failures"):
        return
    name, failures = type(inner).__name__, inner.failures
    check_numbers(name, failures)
    for what, verb, like in (
        ("crashes", "alive", "network.outages(key, 0.1, 10)"),
        ("compute", "of", "network.constant(0.1)"),
    ):
        _expect(name, what, getattr(failures, what), verb, like)
    if isinstance(algorithm, Timed) and _differ(
        failures.compute, algorithm.network.compute
    ):
        raise ValueError(
            f"{name}: got a compute in failures that is not the network's, expected "
            "the same: who is late for the timeout is late on the clock."
        )


def _check_inner(inner: Any) -> None:
    kind = None
    if isinstance(inner, type):
        kind = f"the class {inner.__name__}"
    elif isinstance(inner, Timed):
        kind = "an algorithm that is Timed already"
    elif not hasattr(inner, "step"):
        kind = f"{type(inner).__name__}, which has no step"
    if kind is not None:
        raise ValueError(
            f"Timed: got {kind}, expected an algorithm such as DSGD(topology, "
            "learning_rate): Timed(algorithm, network)."
        )


def _check_parts(network: Any, num_nodes: int) -> None:
    if not isinstance(network, Network):
        raise ValueError(
            f"Timed: got {type(network).__name__} as network, expected "
            "Network(links, compute)."
        )
    for what, verb, like in (
        ("links", "between", "network.same(0.01, 1e6)"),
        ("compute", "of", "network.constant(0.1)"),
    ):
        part = getattr(network, what)
        if part is None:
            raise ValueError(f"Network: got {what}=None, expected such as {like}.")
        _expect("Network", what, part, verb, like)
    if network.model_bytes is not None:
        weight = network.model_bytes
        numbers.check("Network", "model_bytes", weight, more_than=0.0, single=True)
    if isinstance(network.links, ByRule):
        _check_rule(network.links, num_nodes)


def _expect(name: str, what: str, part: Any, verb: str, like: str) -> None:
    if part is not None and not callable(getattr(part, verb, None)):
        raise ValueError(
            f"{name}: got {type(part).__name__} as {what}, expected such as {like}."
        )


def _check_rule(links: ByRule, num_nodes: int) -> None:
    """Ask a user's rule for the costs of a sample of pairs."""
    nodes = np.unique(np.linspace(0, num_nodes - 1, 16).astype(np.int32))
    i, j = (part.ravel() for part in np.meshgrid(nodes, nodes))
    try:
        link = links.between(jnp.asarray(i[i != j]), jnp.asarray(j[i != j]))
    except (TypeError, ValueError, LookupError) as error:
        raise ValueError(
            f"by_rule: the function fails on arrays of nodes ({error}); it has to "
            "return (latency, bandwidth), in jnp, with jnp.where in place of if."
        ) from error
    numbers.check("by_rule", "latency", link.latency)
    numbers.check("by_rule", "bandwidth", link.bandwidth, more_than=0.0, finite=False)


def _differ(one: Any, other: Any) -> bool:
    """Whether two models of computing are known to be different."""
    if one is None or one is other:
        return False
    if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((one, other))):
        return False
    kinds: list[Any] = [jax.tree.structure(part) for part in (one, other)]
    if kinds[0] != kinds[1]:
        return True
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return not all(np.array_equal(_numbers(a), _numbers(b)) for a, b in pairs)


def _numbers(leaf: Any) -> np.ndarray:
    """As the program will see them; those of a key, too."""
    if jnp.issubdtype(jnp.asarray(leaf).dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(jnp.asarray(leaf))
