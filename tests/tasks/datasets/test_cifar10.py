"""The binary version of CIFAR-10, in files of three records."""

import hashlib
import io
import tarfile
import warnings

import numpy as np
import pooch
import pytest

from tele_jax.tasks import datasets
from tele_jax.tasks.datasets import _cifar10 as official
from tests.tasks.datasets.loopback import served

NAMES = tuple(official._SHA256)
RECORDS = 3


def _records(seed):
    """Labels and planes [records, colour, row, column], as bytes of a file too."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, RECORDS).astype(np.uint8)
    planes = rng.integers(0, 256, (RECORDS, 3, 32, 32)).astype(np.uint8)
    pairs = zip(labels, planes, strict=True)
    content = b"".join(bytes([label]) + image.tobytes() for label, image in pairs)
    return labels, planes, content


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """Files of the official layout that are taken for the official ones."""
    folder = tmp_path / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        (folder / name).write_bytes(_records(seed)[2])
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in NAMES
    }
    monkeypatch.setattr(official, "_SHA256", digests)
    monkeypatch.setattr(official, "_NUM_RECORDS", RECORDS)
    monkeypatch.delenv("TELE_JAX_DATA", raising=False)
    return folder.parent


def _assert_holds_the_records(dataset):
    for seed in range(len(NAMES)):
        labels, planes, _ = _records(seed)
        last = seed == len(NAMES) - 1
        inputs, found = dataset[2:] if last else dataset[:2]
        first = 0 if last else RECORDS * seed
        for record in range(RECORDS):
            assert found[first + record] == labels[record]
            for colour in range(3):
                np.testing.assert_array_equal(
                    inputs[first + record][:, :, colour], planes[record, colour]
                )
    assert dataset.train_inputs.shape == (5 * RECORDS, 32, 32, 3)
    assert dataset.train_inputs.dtype == np.uint8
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == np.int32


def test_red_comes_before_green_and_the_official_files_raise_no_warning(
    data_dir, monkeypatch
):
    _assert_holds_the_records(datasets.cifar10(data_dir))
    monkeypatch.setenv("TELE_JAX_DATA", str(data_dir))
    _assert_holds_the_records(datasets.by_name("cifar10"))


def test_other_files_of_the_layout_are_read_with_a_warning(data_dir):
    path = data_dir / "cifar-10-batches-bin" / NAMES[2]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.warns(UserWarning, match=rf"{NAMES[2]} has SHA-256 .* no result on"):
        dataset = datasets.cifar10(data_dir)
    assert len(dataset.train_labels) == 5 * RECORDS


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda content: content[:-1], "bytes, expected 3 records of 3073"),
        (lambda content: content[:-3073], "bytes, expected 3 records of 3073"),
        (lambda content: b"", "has 0 bytes"),
        (lambda content: bytes([10]) + content[1:], "has label 10, expected 0 to 9"),
    ],
    ids=["truncated", "a record less", "empty", "label"],
)
def test_a_file_that_is_not_of_the_layout_is_named(data_dir, spoil, match):
    path = data_dir / "cifar-10-batches-bin" / NAMES[-1]
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{NAMES[-1]} {match}|{match}"):
        datasets.cifar10(data_dir)


def test_a_missing_file_is_named_and_pickles_are_not_looked_for(data_dir):
    folder = data_dir / "cifar-10-batches-bin"
    folder.rename(data_dir / "cifar-10-batches-py")
    with pytest.raises(FileNotFoundError, match=f"{folder / NAMES[0]} is missing"):
        datasets.cifar10(data_dir)


@pytest.fixture
def server(data_dir, tmp_path, monkeypatch):
    """Serve the archive on loopback; an empty cache. The paths asked for."""
    folder = tmp_path / "served"
    folder.mkdir()
    path = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in NAMES:
            content = (data_dir / "cifar-10-batches-bin" / name).read_bytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(official, "_ARCHIVE", digest)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    with served(folder, monkeypatch) as (address, asked):
        monkeypatch.setattr(official, "_URL", address + path.name)
        yield asked


def test_the_archive_is_downloaded_once(server):
    with warnings.catch_warnings():
        # tarfile will unpack with care by default from Python 3.14 on.
        warnings.simplefilter("ignore", DeprecationWarning)
        _assert_holds_the_records(datasets.cifar10())
        _assert_holds_the_records(datasets.cifar10())
    assert server == ["/cifar-10-binary.tar.gz"]


def test_a_wrong_archive_is_not_kept(server, monkeypatch, tmp_path):
    monkeypatch.setattr(official, "_ARCHIVE", "0" * 64)
    with pytest.raises(ValueError, match=r"is not the official file .* nothing was"):
        datasets.cifar10()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_missing_archive_is_told(server, monkeypatch):
    monkeypatch.setattr(official, "_URL", official._URL + ".not")
    with pytest.raises(FileNotFoundError, match=r"cannot be downloaded .*404"):
        datasets.cifar10()
