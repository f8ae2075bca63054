"""The loaders give what the files hold, and name the file that is not the right one."""

import gzip
import hashlib
import os
import struct
import sys

import numpy as np
import pooch
import pytest
from sklearn.datasets import load_digits

from tele_jax.tasks import datasets
from tele_jax.tasks.datasets import _fashion_mnist as official
from tests.tasks.datasets.loopback import served

NAMES = tuple(official._SHA256)
SHAPES = ((5, 3, 2), (5,), (4, 3, 2), (4,))

# The real files are loaded where TELE_JAX_DATA says that they are; where it says so
# wrongly, the tests fail. Shapes of the training and the test inputs.
REAL = {"digits": ((1437, 8, 8, 1), (360, 8, 8, 1))}
if "TELE_JAX_DATA" in os.environ:
    REAL["fashion_mnist"] = ((60_000, 28, 28, 1), (10_000, 28, 28, 1))


def _arrays():
    """Four arrays of bytes in the order of NAMES."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 10, shape).astype(np.uint8) for shape in SHAPES]


def _idx(array):
    header = bytes([0, 0, 8, array.ndim])
    lengths = b"".join(struct.pack(">i", length) for length in array.shape)
    return gzip.compress(header + lengths + array.tobytes(), mtime=0)


def _publish(monkeypatch, folder):
    """Take the files in ``folder`` for the official ones."""
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in NAMES
    }
    monkeypatch.setattr(official, "_SHA256", digests)


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """A directory with small files in the official format and their digests."""
    folder = tmp_path / "data" / "fashion_mnist"
    folder.mkdir(parents=True)
    for name, array in zip(NAMES, _arrays(), strict=True):
        (folder / name).write_bytes(_idx(array))
    _publish(monkeypatch, folder)
    monkeypatch.delenv("TELE_JAX_DATA", raising=False)
    return folder.parent


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty directory in place of the user's cache."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(pooch, "os_cache", lambda project: folder / project)
    return folder


@pytest.fixture
def requests(data_dir, monkeypatch):
    """Serve the files on loopback; the list of the paths asked for."""
    with served(data_dir / "fashion_mnist", monkeypatch) as (address, asked):
        monkeypatch.setattr(official, "_URL", address)
        yield asked


def _files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def _assert_holds_the_arrays(dataset):
    train_images, train_labels, test_images, test_labels = _arrays()
    np.testing.assert_array_equal(dataset.train_inputs, train_images[..., None])
    np.testing.assert_array_equal(dataset.train_labels, train_labels)
    np.testing.assert_array_equal(dataset.test_inputs, test_images[..., None])
    np.testing.assert_array_equal(dataset.test_labels, test_labels)
    assert dataset.train_inputs.dtype == dataset.test_inputs.dtype == np.uint8
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == np.int32
    assert dataset.num_classes == 1 + max(train_labels.max(), test_labels.max())


@pytest.mark.parametrize("name", REAL)
def test_real_dataset(name):
    dataset = datasets.by_name(name)
    assert (dataset.train_inputs.shape, dataset.test_inputs.shape) == REAL[name]
    assert dataset.num_classes == 10
    assert dataset.train_inputs.dtype == np.uint8
    assert (dataset.train_inputs.min(), dataset.train_inputs.max()) == (0, 255)
    per_class = np.bincount(dataset.train_labels), np.bincount(dataset.test_labels)
    if name == "fashion_mnist":  # "6,000 and 1,000 per class", arXiv 1708.07747
        assert set(per_class[0]) == {6000}
        assert set(per_class[1]) == {1000}
    else:
        np.testing.assert_array_equal(sum(per_class), np.bincount(load_digits().target))


def test_digits_are_scikit_learns_in_another_order():
    dataset, source = datasets.digits(), load_digits()
    rows = np.concatenate([dataset.train_inputs, dataset.test_inputs]).reshape(-1, 64)
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    # v · 255/16 is never a half: the rounding has no ties.
    expected = [
        (label, *(int(v * 255 / 16 + 0.5) for v in image))
        for label, image in zip(source.target, source.data, strict=True)
    ]
    found = [(label, *row) for label, row in zip(labels, rows.tolist(), strict=True)]
    assert found != expected
    assert sorted(found) == sorted(expected)


def test_fashion_mnist_from_argument_or_environment(data_dir, monkeypatch):
    _assert_holds_the_arrays(datasets.fashion_mnist(data_dir))
    monkeypatch.setenv("TELE_JAX_DATA", str(data_dir))
    _assert_holds_the_arrays(datasets.by_name("fashion_mnist"))
    monkeypatch.setenv("TELE_JAX_DATA", "/nowhere")
    _assert_holds_the_arrays(datasets.fashion_mnist(str(data_dir)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:-1],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: _idx(np.zeros(7, np.uint8)),
        lambda content: b"",
    ],
    ids=["truncated", "one bit", "another file", "empty"],
)
def test_wrong_file_is_named_with_both_digests(data_dir, name, spoil):
    path = data_dir / "fashion_mnist" / name
    path.write_bytes(spoil(path.read_bytes()))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=name) as caught:
        datasets.fashion_mnist(data_dir)
    assert str(path) in str(caught.value)
    assert f"SHA-256 {found}, expected {official._SHA256[name]}" in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_missing_file_is_named_and_not_downloaded(
    data_dir, cache, requests, monkeypatch, name
):
    path = data_dir / "fashion_mnist" / name
    path.unlink()
    monkeypatch.setenv("TELE_JAX_DATA", str(data_dir))
    with pytest.raises(FileNotFoundError, match="put the file from http") as caught:
        datasets.fashion_mnist()
    assert str(path) in str(caught.value)
    assert not requests
    assert not _files(cache)


@pytest.mark.parametrize(
    "content",
    [
        bytes([0, 0, 9, 3]) + struct.pack(">3i", 5, 3, 2) + bytes(30),
        bytes([0, 0, 8, 3]) + struct.pack(">3i", 5, 3, 2) + bytes(29),
        bytes([0, 0, 8, 3]) + struct.pack(">3i", 5, 3, 2) + bytes(31),
    ],
    ids=["magic", "too short", "too long"],
)
def test_wrong_idx_is_named(data_dir, monkeypatch, content):
    path = data_dir / "fashion_mnist" / NAMES[0]
    path.write_bytes(gzip.compress(content, mtime=0))
    _publish(monkeypatch, path.parent)
    with pytest.raises(ValueError, match=r"00000803 and shape \(5, 3, 2\)") as caught:
        datasets.fashion_mnist(data_dir)
    assert str(path) in str(caught.value)


def test_download_is_cached_and_repaired(cache, requests):
    _assert_holds_the_arrays(datasets.fashion_mnist())
    assert requests == [f"/{name}" for name in NAMES]
    _assert_holds_the_arrays(datasets.fashion_mnist())
    assert len(requests) == 4
    damaged = cache / "tele_jax" / "fashion_mnist" / NAMES[2]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    _assert_holds_the_arrays(datasets.fashion_mnist())
    assert requests[4:] == [f"/{NAMES[2]}"]


@pytest.mark.parametrize("cut", [0, 1], ids=["other bytes", "truncated"])
def test_wrong_download_is_not_kept(data_dir, cache, requests, cut):
    path = data_dir / "fashion_mnist" / NAMES[0]
    path.write_bytes(path.read_bytes()[:-cut] if cut else b"not a picture")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="set TELE_JAX_DATA") as caught:
        datasets.fashion_mnist()
    for part in (NAMES[0], found, official._SHA256[NAMES[0]]):
        assert part in str(caught.value)
    assert requests
    assert not _files(cache)


def test_failed_download_leaves_nothing(data_dir, cache, requests):
    (data_dir / "fashion_mnist" / NAMES[0]).unlink()
    with pytest.raises(
        FileNotFoundError, match=f"{NAMES[0]} cannot be downloaded.*404"
    ):
        datasets.fashion_mnist()
    assert requests
    assert not _files(cache)


@pytest.mark.parametrize(
    ("load", "module"),
    [(datasets.digits, "sklearn.datasets"), (datasets.fashion_mnist, "pooch")],
)
def test_missing_package_is_named(monkeypatch, load, module):
    monkeypatch.delenv("TELE_JAX_DATA", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ImportError, match=rf'{module} .*install "tele_jax\[experiments'
    ):
        load()


@pytest.mark.parametrize(
    ("name", "closest"),
    [("digit", "digits"), ("FashionMNIST", "fashion_mnist"), ("", "digits")],
)
def test_unknown_name(name, closest):
    with pytest.raises(ValueError, match=f"no dataset '{name}'; did you mean"):
        datasets.by_name(name)
    if name:
        with pytest.raises(ValueError, match=f"'{closest}'"):
            datasets.by_name(name)


def _numbered(num_examples):
    """Input and label of a training example are its number; test ones are negative."""
    number = np.arange(num_examples)
    return datasets.Dataset(number[:, None], number, -number[:, None] - 1, -number - 1)


@pytest.mark.parametrize(("fraction", "size"), [(0.1, 10), (0.25, 25), (0.99, 100)])
def test_holdout_splits_the_training_part(fraction, size):
    dataset = _numbered(101)
    split = datasets.holdout(dataset, fraction, seed=3)
    assert len(split.test_labels) == size
    both = np.concatenate([split.train_labels, split.test_labels])
    np.testing.assert_array_equal(np.sort(both), dataset.train_labels)
    np.testing.assert_array_equal(split.train_inputs[:, 0], split.train_labels)
    np.testing.assert_array_equal(split.test_inputs[:, 0], split.test_labels)


def test_holdout_is_decided_by_the_seed():
    first, again, other = (
        datasets.holdout(_numbered(101), 0.5, seed).test_labels for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan"), 1e-9, 0.9999])
def test_holdout_refuses_an_empty_part(fraction):
    with pytest.raises(ValueError, match=f"fraction={fraction} of 101 training"):
        datasets.holdout(_numbered(101), fraction, seed=0)
