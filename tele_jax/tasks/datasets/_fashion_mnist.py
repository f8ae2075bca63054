"""Fashion-MNIST: pictures of clothes.

Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
learning algorithms", arXiv:1708.07747.
"""

import gzip
import os
from pathlib import Path

import numpy as np

from tele_jax.tasks.datasets._dataset import Dataset
from tele_jax.tasks.datasets._files import downloaded, sha256

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

_INSTEAD = "put the four files in <dir>/fashion_mnist"


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
        paths = [
            Path(downloaded("fashion_mnist", _URL + name, digest, _INSTEAD))
            for name, digest in _SHA256.items()
        ]
    train_images, train_labels, test_images, test_labels = map(_read_idx, paths)
    return Dataset(
        train_images[..., None],
        train_labels.astype(np.int32),
        test_images[..., None],
        test_labels.astype(np.int32),
    )


def _local(path: Path, digest: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"fashion_mnist: {path} is missing; put the file from {_URL}{path.name} "
            "there, or give no data_dir and unset TELE_JAX_DATA to download it."
        )
    if (found := sha256(path)) != digest:
        raise ValueError(
            f"fashion_mnist: {path} has SHA-256 {found}, expected {digest}; "
            f"replace it by {_URL}{path.name}."
        )
    return path


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
