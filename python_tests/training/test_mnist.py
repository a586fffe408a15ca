"""IDX files, good and bad, and fetching what is absent."""

from __future__ import annotations

import gzip
import hashlib

import pytest
import torch

from capsroute.training import TrainingError
from capsroute.training.datasets import idx, load_dataset, mnist
from python_tests.training.archives import mirror_of
from python_tests.training.doubles import idx_bytes, write_mnist

NAMES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
@pytest.mark.parametrize("shape", [(7,), (3, 4, 5), (0, 4, 5)])
def test_idx_comes_back_as_written(tmp_path, shape, pack):
    values = torch.randint(256, shape, dtype=torch.uint8)
    (tmp_path / "file").write_bytes(pack(idx_bytes(values)))
    assert torch.equal(idx.read_idx(tmp_path / "file", len(shape)), values)


GOOD = idx_bytes(torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "is not an IDX file .* it starts with nothing instead of 00 00 08 03"),
        (b"\x89PNG\r\n\x1a\n", "is not an IDX file .* it starts with 89 50 4e 47 instead of 00 00 08 03"),
        (idx_bytes(torch.zeros(4, dtype=torch.uint8)), "starts with 00 00 08 01 instead of 00 00 08 03"),
        (GOOD[:9], "is truncated: it ends inside its header"),
        (GOOD[:-1], r"is truncated: 23 bytes of data where \[2, 3, 4\] needs 24"),
        (GOOD + b"\0", r"is longer than its header says: 25 bytes of data where \[2, 3, 4\] needs 24"),
        (GOOD[:4] + b"\xff" * 12, "is truncated: 0 bytes of data where"),
        (gzip.compress(GOOD)[:-9], "is truncated: its gzip stream ends too early"),
        (b"\x1f\x8b" + b"not gzip at all", "is damaged"),
        (gzip.compress(GOOD)[:-8] + b"\0" * 8, "is damaged: CRC check failed"),
    ],
    ids=["empty", "png", "labels", "header", "short", "long", "huge", "gzip short", "gzip foreign", "gzip sum"],
)
def test_bad_idx(tmp_path, contents, message):
    (tmp_path / "file").write_bytes(contents)
    with pytest.raises(TrainingError, match=message) as caught:
        idx.read_idx(tmp_path / "file", 3)
    assert str(tmp_path / "file") in str(caught.value)
    with pytest.raises(TrainingError, match=r"cannot read .*: Is a directory"):
        idx.read_idx(tmp_path, 3)


def test_mnist_from_plain_and_gzipped_files(tmp_path):
    written = write_mnist(tmp_path, gzipped=NAMES[1:3])
    data = load_dataset("mnist", tmp_path)
    assert torch.equal(data.train.images, written["train-images-idx3-ubyte"].unsqueeze(1))
    assert torch.equal(data.train.labels, written["train-labels-idx1-ubyte"].long())
    assert torch.equal(data.test.images, written["t10k-images-idx3-ubyte"].unsqueeze(1))
    assert torch.equal(data.test.labels, written["t10k-labels-idx1-ubyte"].long())
    assert data.train.batch(slice(0, 2))[0].max() <= 1


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("train-images-idx3-ubyte", torch.zeros(40, 28, 27), r"holds images of \[28, 27\] pixels, not of \[28, 28\]"),
        ("t10k-labels-idx1-ubyte", torch.zeros(19), "holds 20 images, but .* 19 labels"),
        ("t10k-labels-idx1-ubyte", torch.full((20,), 10), "holds the label 10, above 9"),
    ],
)
def test_files_that_are_not_mnist(tmp_path, name, values, message):
    write_mnist(tmp_path)
    (tmp_path / name).write_bytes(idx_bytes(values.to(torch.uint8)))
    with pytest.raises(TrainingError, match=message):
        load_dataset("mnist", tmp_path)
    write_mnist(tmp_path, test=0)
    with pytest.raises(TrainingError, match="t10k-labels-idx1-ubyte holds no labels"):
        load_dataset("mnist", tmp_path)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Folder that a local server offers as the only mirror, and the files' hashes with it."""
    served = tmp_path / "mirror"
    write_mnist(served, gzipped=NAMES)
    hashes = {name: hashlib.md5((served / f"{name}.gz").read_bytes()).hexdigest() for name in NAMES}
    with mirror_of(served) as address:
        monkeypatch.setattr(mnist, "_MIRRORS", (address,))
        monkeypatch.setattr(mnist, "_MD5", hashes)
        yield served


def test_absent_files_are_fetched(tmp_path, mirror):
    data_dir = tmp_path / "new" / "data"
    data = load_dataset("mnist", data_dir)
    assert (len(data.train), len(data.test)) == (40, 20)
    assert sorted(file.name for file in data_dir.iterdir()) == sorted(f"{name}.gz" for name in NAMES)
    for file in mirror.iterdir():
        file.unlink()
    assert len(load_dataset("mnist", data_dir).train) == 40  # and only once


def test_a_fetched_file_with_another_hash_is_refused(tmp_path, mirror):
    (mirror / "train-labels-idx1-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(TrainingError, match=r"train-labels-idx1-ubyte.gz is not in .* \(ValueError\)"):
        load_dataset("mnist", tmp_path / "data")
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["train-images-idx3-ubyte.gz"]


def test_without_a_network_no_folder_is_left_behind(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    monkeypatch.setattr(mnist, "_MIRRORS", ("http://127.0.0.1:9/", "http://127.0.0.1:9/again/"))
    for data_dir in (tmp_path / "new" / "data", tmp_path / "there" / "data", tmp_path / "there"):
        with pytest.raises(TrainingError, match=r"cannot be fetched from .* or .*again.*name it with --data-dir"):
            load_dataset("mnist", data_dir)
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_the_known_hashes_cover_every_file():
    assert sorted(mnist._MD5) == sorted(NAMES)
    assert all(len(md5) == 32 for md5 in mnist._MD5.values())
