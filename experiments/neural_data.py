"""The images of the neural study, split over the nodes."""

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

import tele_jax as tele
from experiments import machine
from tele_jax.tasks import datasets, models, partition

if TYPE_CHECKING:
    from experiments.neural import Config


_EXAMPLES_IN_CACHE = {"mixer": 4, "resnet20": 8, "resnet18": 16}
"""Examples at a time with which these were fastest on two cores; others with all."""


class Tasks(NamedTuple):
    """What step sizes are chosen on, and what is reported; the same training part."""

    validation: tele.tasks.Classification
    test: tele.tasks.Classification


class Images(NamedTuple):
    """What all splits share."""

    dataset: datasets.Dataset
    """Without the validation images."""
    validation_inputs: jax.Array
    validation_labels: jax.Array


def load(name: str) -> tuple[datasets.Dataset, list[str]]:
    """The dataset, and what has to be said of every result that rests on it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        dataset = datasets.by_name(name)
    return dataset, [str(warning.message) for warning in caught]


def images(config: "Config", dataset: datasets.Dataset) -> Images:
    """The images on the device, once for all splits, with a part held out."""
    held_out = datasets.holdout(dataset, config.validation, config.seed)
    placed: Any = jnp.asarray  # a Dataset is of NumPy's arrays elsewhere
    return Images(
        dataset._replace(
            train_inputs=placed(held_out.train_inputs),
            train_labels=held_out.train_labels,
            test_inputs=placed(dataset.test_inputs),
        ),
        jnp.asarray(held_out.test_inputs),
        jnp.asarray(held_out.test_labels, jnp.int32),
    )


def tasks(config: "Config", images: Images, alpha: float) -> Tasks:
    """The tasks of one split.

    Args:
      config: the study.
      images: what both parts of all splits share.
      alpha: the concentration of this split.

    Raises:
      ValueError: a class is owned by nobody, a node has less than a round's batches, or
        the model does not take the images.
    """
    recipe, split = config.recipe, images.dataset
    owners = partition.dirichlet(
        split.train_labels, config.num_nodes, alpha, config.seed
    )
    smallest, needed = owners.sizes.min(), recipe.batch_size * recipe.local_steps
    if smallest < needed:
        raise ValueError(
            f"a node has {smallest} training images, a round takes {needed}; lower "
            f"validation={config.validation:g}, num_nodes={config.num_nodes}, "
            f"batch_size={recipe.batch_size} or local_steps={recipe.local_steps}."
        )
    counts = partition.label_counts(owners, split.train_labels, split.num_classes)
    if (counts.sum(0) == 0).any():
        raise ValueError(
            f"no node owns an example of class {counts.sum(0).argmin()}; lower "
            f"validation={config.validation:g}, or name a dataset that has some."
        )
    # The recipe pads 28 and 32 pixels by 4; the digits, of 8, in proportion.
    augment = tele.tasks.Augment(
        padding=split.train_inputs.shape[1] // 7, flip=config.dataset == "cifar10"
    )
    task: Any = tele.tasks.classification(
        split,
        owners,
        models.by_name(config.model, split.num_classes, remat=recipe.remat),
        batch_size=recipe.batch_size,
        epoch_key=jax.random.key(0) if recipe.sampling == "epochs" else None,
        augment=augment if recipe.augment else None,
        examples_at_once=recipe.examples_at_once
        or examples_in_cache(config.model, recipe.batch_size),
        compute_dtype=None if recipe.compute_dtype == "float32" else jnp.bfloat16,
    )
    validation = task.replace(
        test_inputs=images.validation_inputs, test_labels=images.validation_labels
    )
    return Tasks(validation, task)


def examples_in_cache(model: str, batch_size: int) -> int | None:
    """Examples at a time: on a CPU, so that their activations stay in its cache."""
    best = _EXAMPLES_IN_CACHE.get(model)
    if best is None or machine.device().platform != "cpu":
        return None
    sizes = range(best, 2 * best + 1)
    return next((n for n in sizes if batch_size % n == 0), None)
