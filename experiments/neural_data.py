"""The images of the neural study, split over the nodes."""

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

import tele_jax as tele
from tele_jax.tasks import datasets, models, partition

if TYPE_CHECKING:
    from experiments.neural import Config


EXAMPLES_IN_CACHE = {"mixer": 4, "resnet20": 8, "resnet18": 16}
"""Examples at a time with which these were fastest on two cores; others with all."""


class Tasks(NamedTuple):
    """What step sizes are chosen on, and what is reported; the same training part."""

    validation: tele.tasks.Classification
    test: tele.tasks.Classification


def load(name: str) -> tuple[datasets.Dataset, list[str]]:
    """The dataset, and what has to be said of every result that rests on it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        dataset = datasets.by_name(name)
    return dataset, [str(warning.message) for warning in caught]


def tasks(config: "Config", dataset: datasets.Dataset, alpha: float) -> Tasks:
    """The tasks of one split.

    Raises:
      ValueError: a class is owned by nobody, a node has less than a round's batches, or
        the model does not take the images.
    """
    recipe = config.recipe
    split = datasets.holdout(dataset, config.validation, config.seed)
    owners = partition.dirichlet(
        split.train_labels, config.num_nodes, alpha, config.seed
    )
    counts = partition.label_counts(owners, split.train_labels, dataset.num_classes)
    if (counts.sum(0) == 0).any():
        raise ValueError(
            f"no node owns an example of class {counts.sum(0).argmin()} at α={alpha:g};"
            " choose a larger alpha or fewer nodes."
        )
    smallest, needed = owners.sizes.min(), recipe.batch_size * recipe.local_steps
    if smallest < needed:
        raise ValueError(
            f"a node has {smallest} training images, a round takes {needed}; lower "
            f"validation={config.validation:g}, num_nodes={config.num_nodes}, "
            f"batch_size={recipe.batch_size} or local_steps={recipe.local_steps}."
        )
    # The recipe pads 28 and 32 pixels by 4; the digits, of 8, in proportion.
    augment = tele.tasks.Augment(
        padding=dataset.train_inputs.shape[1] // 7, flip=config.dataset == "cifar10"
    )
    task: Any = tele.tasks.classification(
        split,
        owners,
        models.by_name(config.model, dataset.num_classes, remat=recipe.remat),
        batch_size=recipe.batch_size,
        epoch_key=jax.random.key(0) if recipe.sampling == "epochs" else None,
        augment=augment if recipe.augment else None,
        examples_at_once=recipe.examples_at_once or _examples_in_cache(config),
        compute_dtype=None if recipe.compute_dtype == "float32" else jnp.bfloat16,
    )
    test = task.replace(
        test_inputs=jnp.asarray(dataset.test_inputs),
        test_labels=jnp.asarray(dataset.test_labels, jnp.int32),
    )
    return Tasks(task, test)


def _examples_in_cache(config: "Config") -> int | None:
    """Examples at a time: on a CPU, so that their activations stay in its cache."""
    best = EXAMPLES_IN_CACHE.get(config.model)
    if best is None or jax.default_backend() != "cpu":
        return None
    sizes = range(best, 2 * best + 1)
    return next((n for n in sizes if config.recipe.batch_size % n == 0), None)
