"""Labelled images to train on: the only file that reads data files.

Fashion-MNIST: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for
benchmarking machine learning algorithms", arXiv:1708.07747. Digits: Alpaydin and
Kaynak, "Optical recognition of handwritten digits", UCI repository, as shipped by
scikit-learn.
"""

import difflib
import gzip
import hashlib
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
# SHA-256 of the four files whose MD5 the authors publish: the address is plain http,
# and an MD5 can be forged.
_SHA256 = {
    "train-images-idx3-ubyte.gz": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
    ),
    "train-labels-idx1-ubyte.gz": (
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
    ),
}


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


def digits() -> Dataset:
    """The 1,797 handwritten digits of scikit-learn, 8 × 8 pixels; no download.

    Intensities 0..16 become round(255 v / 16). The split into 1,437 and 360 is random
    and always the same.

    Raises:
      ImportError: scikit-learn is missing.

    >>> digits().train_inputs.shape, digits().test_inputs.shape
    ((1437, 8, 8, 1), (360, 8, 8, 1))
    """
    bunch = _extra("sklearn.datasets").load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    train, test = np.split(np.random.default_rng(0).permutation(len(labels)), [1437])
    return Dataset(images[train], labels[train], images[test], labels[test])


def fashion_mnist(data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """The 70,000 pictures of clothes of Fashion-MNIST, 28 × 28 pixels, official split.

    Args:
      data_dir: the four official files are read from ``<data_dir>/fashion_mnist``
        and never downloaded. By default ``$TELE_JAX_DATA``; where that is not set
        either, the files are downloaded once into the user's cache.

    Returns:
      60,000 training and 10,000 test images, uint8[28, 28, 1].

    Raises:
      FileNotFoundError: a file is missing or cannot be downloaded.
      ValueError: a file is not the official one; a download is then not kept.
      ImportError: pooch, which downloads, is missing.

    >>> fashion_mnist("/nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: fashion_mnist: /nowhere/fashion_mnist/train-... is missing; ...
    """
    data_dir = data_dir or os.environ.get("TELE_JAX_DATA")
    if data_dir:
        folder = Path(data_dir) / "fashion_mnist"
        paths = [_local(folder / name, digest) for name, digest in _SHA256.items()]
    else:
        paths = [_download(name, digest) for name, digest in _SHA256.items()]
    train_images, train_labels, test_images, test_labels = map(_read_idx, paths)
    return Dataset(
        train_images[..., None],
        train_labels.astype(np.int32),
        test_images[..., None],
        test_labels.astype(np.int32),
    )


_BY_NAME: dict[str, Callable[[], Dataset]] = {
    "digits": digits,
    "fashion_mnist": fashion_mnist,
}


def by_name(name: str) -> Dataset:
    """The dataset called ``name``: ``"digits"`` or ``"fashion_mnist"``.

    Raises:
      ValueError: there is no such dataset.

    >>> by_name("digits").num_classes
    10
    >>> by_name("fashion-mnist")
    Traceback (most recent call last):
    ValueError: by_name: no dataset 'fashion-mnist'; did you mean 'fashion_mnist'?
    """
    if name not in _BY_NAME:
        # A cutoff of 0: there is always a closest name.
        (closest,) = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.0)
        raise ValueError(f"by_name: no dataset {name!r}; did you mean {closest!r}?")
    return _BY_NAME[name]()


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


def _extra(module: str) -> Any:
    """Import what only the experiments need."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"datasets: {module} cannot be imported; "
            'pip install "tele_jax[experiments]".'
        ) from error


def _local(path: Path, digest: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"fashion_mnist: {path} is missing; put the file from {_URL}{path.name} "
            "there, or give no data_dir and unset TELE_JAX_DATA to download it."
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != digest:
        raise ValueError(
            f"fashion_mnist: {path} has SHA-256 {found}, expected {digest}; "
            f"replace it by {_URL}{path.name}."
        )
    return path


def _download(name: str, digest: str) -> Path:
    pooch = _extra("pooch")
    advice = (
        "nothing was kept. Try again, or put the four files in <dir>/fashion_mnist "
        "and set TELE_JAX_DATA=<dir>."
    )
    try:
        return Path(
            pooch.retrieve(
                url=_URL + name,
                known_hash=f"sha256:{digest}",
                fname=name,
                path=Path(pooch.os_cache("tele_jax")) / "fashion_mnist",
            )
        )
    except OSError as error:
        raise FileNotFoundError(
            f"fashion_mnist: {_URL}{name} cannot be downloaded ({error}); {advice}"
        ) from error
    except ValueError as error:  # pooch's own sentence has both digests.
        raise ValueError(
            f"fashion_mnist: {_URL}{name} is not the official file ({error}); {advice}"
        ) from error


def _read_idx(path: Path) -> np.ndarray:
    """The array in a gzipped IDX file of bytes.

    The format: two zero bytes, the type (8 for bytes), the number of axes, the length
    of each axis as a big-endian int32, the data.
    """
    content = gzip.decompress(path.read_bytes())
    ndim = 3 if "idx3" in path.name else 1
    shape = np.frombuffer(content, ">i4", count=ndim, offset=4)
    data = np.frombuffer(content, np.uint8, offset=4 + 4 * ndim)
    if content[:4] != bytes([0, 0, 8, ndim]) or data.size != shape.prod():
        raise ValueError(
            f"fashion_mnist: {path} starts with {content[:4].hex()} and has "
            f"{data.size} bytes of data, expected {bytes([0, 0, 8, ndim]).hex()} and "
            f"shape {tuple(map(int, shape))}; replace it by the official file."
        )
    return data.reshape(shape)
