"""Classification of labelled examples that the nodes own unevenly."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tele_jax._types import Array, Key, Params
from tele_jax.tasks._blocks import mean_value_and_grad, weighted_total
from tele_jax.tasks._checks import (
    check_augment,
    check_block,
    check_dtype,
    check_key,
    check_model,
    check_part,
    check_partition,
)
from tele_jax.tasks._forward import cross_entropy, logits, scaled
from tele_jax.tasks.augment import Augment
from tele_jax.tasks.datasets import Dataset
from tele_jax.tasks.epochs import places_of_batch
from tele_jax.tasks.partition import Partition

_BLOCK = 512
"""So many examples at once go through the model in ``objective`` and ``evaluate``."""


class Model(Protocol):
    """A pytree that turns parameters and inputs ``[b, ...]`` into logits.

    Its arrays, if it has any, are data of the task.
    """

    def apply(self, params: Params, inputs: Array) -> Array:
        """Logits [b, classes]."""


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
    epoch_key: Key | None = None
    """Decides the order of every node's epochs; None: draws with replacement."""
    augment: Augment | None = None
    """What is done to the images of a batch."""
    examples_at_once: int | None = struct.field(pytree_node=False, default=None)
    """So many examples of a batch go through the model at a time; None: all."""
    compute_dtype: Any = struct.field(pytree_node=False, default=None)
    """What the model computes in; None: as the parameters are."""

    @property
    def num_nodes(self) -> int:
        """The number n of nodes."""
        return self.sizes.shape[0]

    @property
    def counts_draws(self) -> bool:
        """Whether a batch depends on those before: epochs do."""
        return self.epoch_key is not None

    def sample(self, key: Key, node: Array, count: Array | None) -> tuple[Array, Array]:
        """``batch_size`` of its examples: with replacement, or next of its epochs."""
        if self.augment is None:
            examples = self.index[node, self._places(key, node, count)]
            return scaled(self.inputs[examples]), self.labels[examples]
        key, augment_key = jax.random.split(key)
        examples = self.index[node, self._places(key, node, count)]
        inputs = self.augment.apply(augment_key, self.inputs[examples])
        return scaled(inputs), self.labels[examples]

    def _places(self, key: Key, node: Array, count: Array | None) -> Array:
        """Which of its examples the node takes: int32[b]."""
        size = self.sizes[node]
        if self.epoch_key is None:
            return jax.random.randint(key, (self.batch_size,), 0, size)
        assert count is not None  # as counts_draws asks for it
        own = jax.random.fold_in(self.epoch_key, node)
        return places_of_batch(own, count, size, self.index.shape[1], self.batch_size)

    def loss(self, params: Params, batch: tuple[Array, Array]) -> Array:
        """F_i(x; ξ) = −(1/b) Σ_{(a, y) ∈ ξ} log softmax(model(x, a))_y."""
        inputs, labels = batch
        return jnp.mean(cross_entropy(self._logits(params, inputs), labels))

    def value_and_grad(
        self, params: Params, batch: tuple[Array, Array]
    ) -> tuple[Array, Params]:
        """``loss`` and its gradient, ``examples_at_once``."""
        if self.examples_at_once is None:
            return jax.value_and_grad(self.loss)(params, batch)
        return mean_value_and_grad(self.loss, params, batch, self.examples_at_once)

    def objective(self, params: Params) -> Array:
        """f(x), exactly: one pass over all N examples, in blocks."""

        def measure(inputs: Array, labels: Array) -> Array:
            return cross_entropy(self._logits(params, scaled(inputs)), labels)

        return weighted_total(measure, (self.inputs, self.labels, self.weights), _BLOCK)

    def evaluate(self, params: Params) -> dict[str, Array]:
        """Accuracy and mean cross-entropy on the test part, in blocks."""

        def measure(inputs: Array, labels: Array) -> dict[str, Array]:
            found = self._logits(params, scaled(inputs))
            correct = jnp.argmax(found, axis=-1) == labels
            return {"accuracy": correct, "test_loss": cross_entropy(found, labels)}

        # Weights of 1 and one division at the end: counts are exact in float32.
        size = len(self.test_labels)
        examples = (self.test_inputs, self.test_labels, jnp.ones(size))
        totals = weighted_total(measure, examples, _BLOCK)
        return {name: total / size for name, total in totals.items()}

    def _logits(self, params: Params, inputs: Array) -> Array:
        found = logits(self.model, params, inputs, self.compute_dtype)
        if found.ndim != 2 or len(found) != len(inputs):
            raise ValueError(
                f"Classification: the model gives logits of shape {found.shape} for "
                f"inputs of shape {inputs.shape}, expected [b, classes]; flatten the "
                "inputs, or what is in front of the last layer."
            )
        if found.shape[-1] < self.num_classes:
            raise ValueError(
                f"Classification: the model gives {found.shape[-1]} logits, the data "
                f"have {self.num_classes} classes; give the model as many outputs."
            )
        return found


def classification(
    dataset: Dataset,
    partition: Partition,
    model: Model,
    *,
    batch_size: int,
    epoch_key: Key | None = None,
    augment: Augment | None = None,
    examples_at_once: int | None = None,
    compute_dtype: Any = None,
) -> Classification:
    """The task of training ``model`` on a dataset split over nodes.

    Args:
      dataset: the examples; integer labels from 0 up.
      partition: who owns which training example.
      model: a pytree with ``apply(params, inputs) -> logits``.
      batch_size: b, how many examples a node draws in a step.
      epoch_key: a node goes through all its examples before it sees one again, in an
        order that this key decides and that is new in every epoch; a sweep over seeds
        may sweep it. By default batches are drawn with replacement, as theory has it.
      augment: what is done to the images of a batch when it is drawn.
      examples_at_once: gradients are added up over so many examples at a time, a
        divisor of the batch size. The same numbers to rounding, if examples do not
        depend on each other within the model, with less memory; on a CPU also faster
        if they then stay in its cache: 8 of ResNet-20 do. By default all at once.
      compute_dtype: what the model computes in, ``jnp.bfloat16`` or ``jnp.float32``;
        parameters, gradients, gossip and losses keep their own type. By default the
        model computes in the type of its parameters and inputs.

    Raises:
      ValueError: a number, type or label is out of range, a node is empty, the
        partition is not one of this dataset, the model is not a pytree, or there are no
        images to augment.

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
    check_block(batch_size, examples_at_once)
    compute_dtype = check_dtype(compute_dtype)
    check_model(model)
    check_part("training", dataset.train_inputs, dataset.train_labels)
    check_part("test", dataset.test_inputs, dataset.test_labels)
    num_examples = len(dataset.train_labels)
    check_partition(partition, num_examples)
    check_augment(augment, dataset)
    check_key(epoch_key)
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
        epoch_key=epoch_key,
        augment=augment,
        examples_at_once=examples_at_once,
        compute_dtype=compute_dtype,
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
