"""Labelled examples in host memory, and a part of them held out."""

from typing import NamedTuple

import numpy as np


class Dataset(NamedTuple):
    """Examples and their labels, in host memory.

    Images are uint8[..., height, width, channels] with 255 for full intensity, a
    quarter of what float32 takes; ``Classification`` scales a batch when it draws one.
    """

    train_inputs: np.ndarray  # [N, ...]
    train_labels: np.ndarray  # int32[N]
    test_inputs: np.ndarray  # [N_test, ...]
    test_labels: np.ndarray  # int32[N_test]

    @property
    def num_classes(self) -> int:
        """One more than the largest label."""
        return int(max(self.train_labels.max(), self.test_labels.max())) + 1


def holdout(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Split the training part; the part held out takes the place of the test part.

    Choose step sizes on this dataset, and report on the original one: its test part
    has then had no say in the choice.

    Args:
      dataset: the dataset whose training part is split.
      fraction: the share of the N training examples to hold out, round(fraction N).
      seed: decides which.

    Raises:
      ValueError: one of the two parts would be empty.

    >>> from tele_jax.tasks.datasets import digits
    >>> holdout(digits(), 0.1, seed=0).test_inputs.shape
    (144, 8, 8, 1)
    """
    num_examples = len(dataset.train_labels)
    # NaN fails both comparisons and is refused with the rest.
    num_held_out = round(fraction * num_examples) if 0 < fraction < 1 else 0
    if not 0 < num_held_out < num_examples:
        raise ValueError(
            f"holdout: fraction={fraction} of {num_examples} training examples leaves "
            "an empty part; choose a fraction between 0 and 1 that leaves none empty."
        )
    order = np.random.default_rng(seed).permutation(num_examples)
    held_out, kept = np.split(order, [num_held_out])
    return Dataset(
        dataset.train_inputs[kept],
        dataset.train_labels[kept],
        dataset.train_inputs[held_out],
        dataset.train_labels[held_out],
    )
