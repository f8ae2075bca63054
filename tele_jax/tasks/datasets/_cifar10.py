"""CIFAR-10: small pictures of animals and vehicles.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. The binary
version: its Python version is pickles, and reading a pickle can run any code.
"""

import os
import warnings
from pathlib import Path

import numpy as np

from tele_jax._extras import import_extra
from tele_jax.tasks.datasets._dataset import Dataset
from tele_jax.tasks.datasets._files import downloaded, sha256

_FOLDER = "cifar-10-batches-bin"
_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_ARCHIVE = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
_SHA256 = {
    "data_batch_1.bin": (
        "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"
    ),
    "data_batch_2.bin": (
        "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"
    ),
    "data_batch_3.bin": (
        "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"
    ),
    "data_batch_4.bin": (
        "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"
    ),
    "data_batch_5.bin": (
        "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"
    ),
    "test_batch.bin": (
        "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"
    ),
}
_SHAPE = (3, 32, 32)
_NUM_RECORDS = 10_000
"""Of every file."""


def cifar10(data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """The 60,000 pictures of CIFAR-10, 32 × 32 pixels in colour, official split.

    Args:
      data_dir: the six files of the binary version are read from
        ``<data_dir>/cifar-10-batches-bin`` and never downloaded; files of that layout
        that are not the official ones are read with a warning. By default
        ``$TELE_JAX_DATA``; where that is not set either, the archive is downloaded once
        into the user's cache.

    Returns:
      50,000 training and 10,000 test images, uint8[32, 32, 3].

    Raises:
      FileNotFoundError: a file is missing or cannot be downloaded.
      ValueError: a file is not of the layout, or a download not the official one; it is
        then not kept.
      ImportError: pooch, which downloads, is missing.

    >>> cifar10("/nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: cifar10: /nowhere/cifar-10-batches-bin/data_... is missing; ...
    """
    data_dir = data_dir or os.environ.get("TELE_JAX_DATA")
    folder = Path(data_dir) / _FOLDER if data_dir else _download()
    parts = [_read(folder / name) for name in _SHA256]
    images, labels = (np.concatenate(part) for part in zip(*parts[:-1], strict=True))
    _warn_of_others(folder)
    return Dataset(images, labels, *parts[-1])


def _download() -> Path:
    unpack = import_extra("datasets", "pooch", "experiments").Untar(extract_dir=".")
    instead = f"put the six files in <dir>/{_FOLDER}"
    files = downloaded("cifar10", _URL, _ARCHIVE, instead, processor=unpack)
    return next(Path(file).parent for file in files if file.endswith("test_batch.bin"))


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels: records of a label and 3 · 32 · 32 bytes, red before green."""
    if not path.is_file():
        raise FileNotFoundError(
            f"cifar10: {path} is missing; put the files of {_URL} there, or give no "
            "data_dir and unset TELE_JAX_DATA to download them."
        )
    content = np.frombuffer(path.read_bytes(), np.uint8)
    length = 1 + int(np.prod(_SHAPE))
    if content.size != _NUM_RECORDS * length:
        raise ValueError(
            f"cifar10: {path} has {content.size} bytes, expected {_NUM_RECORDS} records"
            f" of {length}; replace it by that of {_URL}."
        )
    records = content.reshape(-1, length)
    labels = records[:, 0].astype(np.int32)
    if labels.max() > 9:
        raise ValueError(
            f"cifar10: {path} has label {labels.max()}, expected 0 to 9; replace it by "
            f"that of {_URL}."
        )
    return records[:, 1:].reshape(-1, *_SHAPE).transpose(0, 2, 3, 1).copy(), labels


def _warn_of_others(folder: Path) -> None:
    """Say if a file is not the official one."""
    for name, digest in _SHA256.items():
        if (found := sha256(folder / name)) != digest:
            warnings.warn(
                f"cifar10: {name} has SHA-256 {found}, not that of the official file: "
                "what rests on it is no result on CIFAR-10.",
                stacklevel=3,
            )
            return
