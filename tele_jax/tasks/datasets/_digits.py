"""Handwritten digits that come with scikit-learn.

Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI repository.
"""

import numpy as np

from tele_jax._extras import import_extra
from tele_jax.tasks.datasets._dataset import Dataset


def digits() -> Dataset:
    """The 1,797 handwritten digits of scikit-learn, 8 × 8 pixels; no download.

    Intensities 0..16 become round(255 v / 16). The split into 1,437 and 360 is random
    and always the same.

    Raises:
      ImportError: scikit-learn is missing.

    >>> digits().train_inputs.shape, digits().test_inputs.shape
    ((1437, 8, 8, 1), (360, 8, 8, 1))
    """
    bunch = import_extra("datasets", "sklearn.datasets", "experiments").load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    train, test = np.split(np.random.default_rng(0).permutation(len(labels)), [1437])
    return Dataset(images[train], labels[train], images[test], labels[test])
