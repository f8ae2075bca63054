"""What ``classification`` refuses before any work."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tele_jax.tasks.augment import Augment
from tele_jax.tasks.datasets import Dataset
from tele_jax.tasks.partition import Partition


def check_model(model: Any) -> None:
    if not hasattr(model, "apply") or any(
        not (hasattr(leaf, "shape") and hasattr(leaf, "dtype"))
        for leaf in jax.tree.leaves(model)
    ):
        raise ValueError(
            f"classification: got a model of type {type(model).__name__}, expected a "
            "pytree of arrays with apply(params, inputs) -> logits; wrap a flax module "
            "in Linen or Nnx of tele_jax.tasks.models."
        )


def check_block(batch_size: int, examples_at_once: int | None) -> None:
    if examples_at_once is None:
        return
    whole = isinstance(examples_at_once, int | np.integer)
    if not whole or examples_at_once < 1 or batch_size % examples_at_once:
        raise ValueError(
            f"classification: got examples_at_once={examples_at_once} with batch_size="
            f"{batch_size}, expected a divisor of it; leave it out for all at once."
        )


def check_dtype(compute_dtype: Any) -> np.dtype | None:
    """The dtype by its name or class; float16 would need its losses scaled."""
    if compute_dtype is None:
        return None
    try:
        dtype = jnp.dtype(compute_dtype)
    except TypeError:
        dtype = None
    if dtype not in (jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float32)):
        raise ValueError(
            f"classification: got compute_dtype={compute_dtype!r}, expected "
            "jnp.bfloat16, jnp.float32 or None."
        )
    return dtype


def check_part(part: str, inputs: np.ndarray, labels: np.ndarray) -> None:
    if len(inputs) != len(labels) or labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"classification: the {part} part has {len(inputs)} inputs and labels of "
            f"shape {labels.shape}; give one label for every input, and at least one."
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(
            f"classification: the {part} labels are {labels.dtype} from {labels.min()} "
            "up, expected integers from 0 up; number the classes."
        )


def check_partition(partition: Partition, num_examples: int) -> None:
    index, sizes = partition
    if index.ndim != 2 or sizes.shape != index.shape[:1] or not index.size:
        raise ValueError(
            f"classification: the partition has an index of shape {index.shape} and "
            f"sizes of shape {sizes.shape}, expected [n, s] and [n]."
        )
    wrong = np.flatnonzero((sizes < 1) | (sizes > index.shape[1]))
    if wrong.size:
        raise ValueError(
            f"classification: node {wrong[0]} owns {sizes[wrong[0]]} examples, "
            f"expected 1 to {index.shape[1]}; give every node some."
        )
    if index.min() < 0 or index.max() >= num_examples:
        raise ValueError(
            f"classification: the partition names examples {index.min()} to "
            f"{index.max()}, the training part has {num_examples}; split this "
            "dataset's train_labels."
        )


def check_augment(augment: Any, dataset: Dataset) -> None:
    """Refuse to crop what is no image, and what does not crop."""
    if augment is None:
        return
    if not isinstance(augment, Augment):
        raise ValueError(
            f"classification: got augment={augment!r}, expected tasks.Augment(...) or "
            "None."
        )
    augment.check()
    if dataset.train_inputs.ndim != 4:
        raise ValueError(
            "classification: augment needs images [N, h, w, c], got inputs of shape "
            f"{dataset.train_inputs.shape}; use augment=None."
        )


def check_key(epoch_key: Any) -> None:
    """Refuse a seed where a key is wanted."""
    if epoch_key is None:
        return
    dtype = getattr(epoch_key, "dtype", None)
    if dtype is None or not jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        raise ValueError(
            f"classification: got epoch_key={epoch_key!r}, expected jax.random.key("
            "seed) or None."
        )
