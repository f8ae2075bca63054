"""Classification of labelled examples that the nodes own unevenly."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tele_jax._types import Array, Key, Params
from tele_jax.tasks.datasets import Dataset
from tele_jax.tasks.partition import Partition

_BLOCK = 512
"""So many examples at once go through the model in ``objective`` and ``evaluate``."""


class Model(Protocol):
    """A pytree that turns parameters and inputs ``[b, ...]`` into logits.

    Its arrays, if it has any, are data of the task.
    """

    def apply(self, params: Params, inputs: Array) -> Array:
        """Logits float32[b, classes]."""


@struct.dataclass
class Classification:
    """F_i(x; ξ): the mean cross-entropy of one batch of node i's own examples.

    f(x) = (1/n) Σ_i (1/s_i) Σ_{j owned by i} ℓ_j(x): the average over *nodes*. It is
    not the pooled loss (1/N) Σ_j ℓ_j(x), in which a node that owns more counts for
    more; the two agree when every example has one owner and every node equally many.

    The images are held once, however many nodes there are; a node is a row of numbers
    of examples. uint8 inputs are divided by 255 when they are used, others are taken as
    they are. No exact ``gradient`` is offered: ∇f is a pass over all examples, too dear
    to be measured by default. Make one with ``classification``.
    """

    inputs: Array
    """[N, ...]: the training examples."""
    labels: Array
    """int32[N]."""
    index: Array
    """int32[n, s]: node i owns the examples ``index[i, :sizes[i]]``."""
    sizes: Array
    """int32[n]: s_i."""
    weights: Array
    """float32[N]: f(x) = Σ_j weights_j ℓ_j(x)."""
    test_inputs: Array
    """[N_test, ...]."""
    test_labels: Array
    """int32[N_test]."""
    model: Model
    batch_size: int = struct.field(pytree_node=False)
    num_classes: int = struct.field(pytree_node=False)

    @property
    def num_nodes(self) -> int:
        """The number n of nodes."""
        return self.sizes.shape[0]

    def sample(self, key: Key, node: Array, count: Array | None) -> tuple[Array, Array]:
        """``batch_size`` of the node's examples, uniform and with replacement."""
        del count
        picks = jax.random.randint(key, (self.batch_size,), 0, self.sizes[node])
        examples = self.index[node, picks]
        return _scaled(self.inputs[examples]), self.labels[examples]

    def loss(self, params: Params, batch: tuple[Array, Array]) -> Array:
        """F_i(x; ξ) = −(1/b) Σ_{(a, y) ∈ ξ} log softmax(model(x, a))_y."""
        inputs, labels = batch
        return jnp.mean(_cross_entropy(self._logits(params, inputs), labels))

    def objective(self, params: Params) -> Array:
        """f(x), exactly: one pass over all N examples, in blocks."""

        examples = (self.inputs, self.labels, self.weights)
        return self._total(params, examples, _cross_entropy)

    def evaluate(self, params: Params) -> dict[str, Array]:
        """Accuracy and mean cross-entropy on the test part, in blocks."""

        def measure(logits: Array, labels: Array) -> dict[str, Array]:
            correct = jnp.argmax(logits, axis=-1) == labels
            return {"accuracy": correct, "test_loss": _cross_entropy(logits, labels)}

        # Weights of 1 and one division at the end: counts are exact in float32.
        size = len(self.test_labels)
        examples = (self.test_inputs, self.test_labels, jnp.ones(size))
        return {
            name: total / size
            for name, total in self._total(params, examples, measure).items()
        }

    def _logits(self, params: Params, inputs: Array) -> Array:
        logits = self.model.apply(params, inputs)
        if logits.shape[-1] < self.num_classes:
            raise ValueError(
                f"Classification: the model gives {logits.shape[-1]} logits, the data "
                f"have {self.num_classes} classes; give the model as many outputs."
            )
        return logits

    def _total(
        self,
        params: Params,
        examples: tuple[Array, Array, Array],
        measure: Callable[[Array, Array], Any],
    ) -> Any:
        """Σ_j weights_j measure_j, holding the activations of one block at a time.

        ``examples`` are inputs, labels and weights, ``measure`` gives arrays [b].
        """
        num_examples = len(examples[0])
        size = min(_BLOCK, num_examples)

        def block(start: Array) -> Any:
            # The last block starts early enough to be full; what the one before it has
            # counted weighs nothing in it.
            begin = jnp.minimum(start, num_examples - size)
            inputs, labels, weights = (
                jax.lax.dynamic_slice_in_dim(array, begin, size) for array in examples
            )
            fresh = begin + jnp.arange(size) >= start
            values = measure(self._logits(params, _scaled(inputs)), labels)
            return jax.tree.map(
                lambda value: jnp.sum(jnp.where(fresh, weights * value, 0)), values
            )

        sums = jax.lax.map(block, jnp.arange(0, num_examples, size))
        return jax.tree.map(jnp.sum, sums)


def classification(
    dataset: Dataset, partition: Partition, model: Model, *, batch_size: int
) -> Classification:
    """The task of training ``model`` on a dataset split over nodes.

    Args:
      dataset: the examples; integer labels from 0 up.
      partition: who owns which training example.
      model: a pytree with ``apply(params, inputs) -> logits``.
      batch_size: b, how many examples a node draws in a round.

    Raises:
      ValueError: a number or label is out of range, a node is empty, the partition is
        not one of this dataset, or the model is not a pytree.

    >>> from tele_jax.tasks import datasets, partition
    >>> @struct.dataclass
    ... class Linear:
    ...     def apply(self, params, inputs):
    ...         return inputs.reshape(len(inputs), -1) @ params
    >>> digits = datasets.digits()
    >>> split = partition.dirichlet(digits.train_labels, 25, 0.1, seed=0)
    >>> task = classification(digits, split, Linear(), batch_size=32)
    >>> metrics = task.evaluate(jnp.zeros((64, 10)))
    >>> round(float(metrics["test_loss"]), 4)  # log 10
    2.3026
    """
    if batch_size < 1:
        raise ValueError(f"classification: got batch_size={batch_size}, expected >= 1.")
    _check_model(model)
    _check_part("training", dataset.train_inputs, dataset.train_labels)
    _check_part("test", dataset.test_inputs, dataset.test_labels)
    num_examples = len(dataset.train_labels)
    _check_partition(partition, num_examples)
    return Classification(
        inputs=jnp.asarray(dataset.train_inputs),
        labels=jnp.asarray(dataset.train_labels, jnp.int32),
        index=jnp.asarray(partition.index, jnp.int32),
        sizes=jnp.asarray(partition.sizes, jnp.int32),
        weights=jnp.asarray(_weights(partition, num_examples), jnp.float32),
        test_inputs=jnp.asarray(dataset.test_inputs),
        test_labels=jnp.asarray(dataset.test_labels, jnp.int32),
        model=model,
        batch_size=batch_size,
        num_classes=dataset.num_classes,
    )


def _weights(partition: Partition, num_examples: int) -> np.ndarray:
    """weights_j = (1/n) Σ_i #{l < s_i : index[i, l] = j} / s_i, float64[N]."""
    weights = np.zeros(num_examples)
    share = 1 / (len(partition.sizes) * partition.sizes.astype(float))
    # Column by column: nothing as large as the table is made.
    for number, column in enumerate(partition.index.T):
        owned = number < partition.sizes
        np.add.at(weights, column[owned], share[owned])
    return weights


def _check_model(model: Model) -> None:
    if not hasattr(model, "apply") or any(
        not hasattr(leaf, "dtype") for leaf in jax.tree.leaves(model)
    ):
        raise ValueError(
            f"classification: got a model of type {type(model).__name__}, expected a "
            "pytree of arrays with apply(params, inputs) -> logits; wrap a flax module "
            "in tele_jax.tasks.models.Linen."
        )


def _check_part(part: str, inputs: np.ndarray, labels: np.ndarray) -> None:
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


def _check_partition(partition: Partition, num_examples: int) -> None:
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


def _scaled(inputs: Array) -> Array:
    return inputs.astype(jnp.float32) / 255 if inputs.dtype == jnp.uint8 else inputs


def _cross_entropy(logits: Array, labels: Array) -> Array:
    """−log softmax(logits)_label, one for each example: [b]."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=-1)
    return -chosen[:, 0]
