"""IDX files, good and bad; data sets in MNIST's form, where they lie, what they are called, and fetching them."""

from __future__ import annotations

import gzip
import hashlib
import struct
from dataclasses import replace

import numpy
import pytest
import torch

from capsroute.training import TrainingError
from capsroute.training.datasets import idx, known, load_dataset, mnist
from python_tests.training import formats
from python_tests.training.archives import mirror_of
from python_tests.training.doubles import idx_bytes, write_mnist

NAMES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


def test_idx_of_every_type_and_rank_comes_back_as_written(tmp_path):
    shapes = [(), (7,), (2, 8), (3, 4, 5), (2, 1, 3, 2), (2,) * 12, (0, 4, 5)]
    for kind in formats.TYPES:
        for number, shape in enumerate(shapes):
            values = numpy.random.RandomState(number).randint(-100, 100, shape).astype(kind)
            contents = formats.idx(values)
            (tmp_path / "file").write_bytes(gzip.compress(contents) if number % 2 else contents)
            for dimensions in (None, len(shape)):
                found = idx.read_idx(tmp_path / "file", dimensions)
                assert found.dtype == torch.from_numpy(values).dtype
                assert numpy.array_equal(found.numpy(), values)
                assert found.shape == shape


GOOD = idx_bytes(torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "is not an IDX file: it starts with nothing instead of 00 00, a type from 08 to 0e"),
        (b"\x89PNG\r\n\x1a\n", "is not an IDX file: it starts with 89 50 4e 47 instead of 00 00"),
        (b"\0\0\x0a\x03" + GOOD[4:], "is not an IDX file: it starts with 00 00 0a 03 instead of 00 00"),
        (idx_bytes(torch.zeros(4, dtype=torch.uint8)), r"holds an array of 1 dimension\(s\), not of 3"),
        (GOOD[:9], "is truncated: it ends inside its header"),
        (GOOD[:-1], r"is truncated: 23 bytes of data where \[2, 3, 4\] needs 24"),
        (GOOD + b"\0", r"is longer than its header says: 25 bytes of data where \[2, 3, 4\] needs 24"),
        (GOOD[:4] + b"\xff" * 12, "is truncated: 0 bytes of data where"),
        (b"\0\0\x0e\x03" + GOOD[4:], r"is truncated: 24 bytes of data where \[2, 3, 4\] needs 192"),
        (gzip.compress(GOOD)[:-9], "is truncated: its gzip stream ends too early"),
        (b"\x1f\x8b" + b"not gzip at all", "is damaged"),
        (gzip.compress(GOOD)[:-8] + b"\0" * 8, "is damaged: CRC check failed"),
    ],
    ids=[
        "empty",
        "png",
        "type",
        "labels",
        "header",
        "short",
        "long",
        "huge",
        "double",
        "gz short",
        "gz foreign",
        "gz sum",
    ],
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
        ("train-images-idx3-ubyte", torch.zeros(40, 784), r"an array \[40, 784\] of uint8, not images \[N, 28, 28\]"),
        ("t10k-labels-idx1-ubyte", torch.zeros(19), "holds 20 images, but .* 19 labels"),
        ("t10k-labels-idx1-ubyte", torch.zeros(20, 8), r"an array \[20, 8\] of uint8, not labels \[N\]"),
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
def no_network(monkeypatch):
    def fetch(*arguments):
        raise AssertionError(f"fetches {arguments}")

    monkeypatch.setattr(mnist, "fetch", fetch)


LAYOUTS = {
    "dotted": ("mnist", [name.replace("-idx", ".idx") for name in NAMES], ""),
    "upper case": ("mnist", [name.upper() for name in NAMES], ".GZ"),
    "a folder each": ("mnist", [f"{name}/{name}" for name in NAMES], ""),
    "a dotted folder each": ("mnist", [f"{name.replace('-idx', '.idx')}/{name}" for name in NAMES], ""),
    "torchvision's root": ("mnist", [f"MNIST/raw/{name}" for name in NAMES], ""),
    "torchvision's root, Fashion": ("fashion-mnist", [f"FashionMNIST/raw/{name}" for name in NAMES], ".gz"),
    "the only one": ("kmnist", [f"downloads/{name}" for name in NAMES], ".gz"),
    "named": ("kmnist", [f"kmnist-{name}" for name in NAMES], ".gz"),
    "test": ("qmnist", [f"qmnist-{name.replace('t10k', 'test')}" for name in NAMES], ".gz"),
    "underscores": ("mnist", [name.replace("-", "_") for name in NAMES], ""),
}


def test_layouts_in_which_people_have_the_files(tmp_path, no_network):
    for number, (dataset, names, ending) in enumerate(LAYOUTS.values()):
        folder = tmp_path / str(number)
        written = formats.write_idx_set(folder, names, seed=number, ending=ending)
        (folder / ".DS_Store").write_bytes(b"")
        data = load_dataset(dataset, folder)
        found = (data.train.images[:, 0], data.train.labels, data.test.images[:, 0], data.test.labels)
        for right, values in zip(written, found, strict=True):
            assert numpy.array_equal(values.numpy(), right)


def test_one_of_several_data_sets(tmp_path, no_network):
    for seed, folder in enumerate(("FashionMNIST", "KMNIST", "MNIST")):
        formats.write_idx_set(tmp_path / folder / "raw", NAMES, seed=10 * seed)
    images = {name: load_dataset(name, tmp_path).train.images for name in ("fashion-mnist", "kmnist", "mnist")}
    for seed, found in enumerate(images.values()):
        assert numpy.array_equal(found[:, 0].numpy(), formats.pixels(20, 28, 28, seed=10 * seed))
    with pytest.raises(TrainingError, match=r"several data sets, in FashionMNIST/raw, KMNIST/raw, MNIST/raw: name one"):
        load_dataset("qmnist", tmp_path)


def test_nothing_is_put_beside_the_files_of_somebody(tmp_path, no_network):
    written = write_mnist(tmp_path)
    (tmp_path / NAMES[3]).rename(tmp_path / "notes.txt")
    with pytest.raises(
        TrainingError, match=r"holds notes.txt, t10k-images.*, train-labels.*: MNIST is wanted as train-im"
    ):
        load_dataset("mnist", tmp_path)
    assert len(list(tmp_path.iterdir())) == len(written)
    with pytest.raises(TrainingError, match=r"notes.txt is not a folder: name with --data-dir the one"):
        load_dataset("mnist", tmp_path / "notes.txt")


def known_as(folder, names, title, *, packed):
    """A data set that is known by the checksums of the files in a folder, as they are or as they are unpacked."""
    contents = [(folder / name).read_bytes() for name in names]
    md5s = tuple(hashlib.md5(text).hexdigest() for text in contents)
    facts = replace(known.FASHION_MNIST.facts, title=title)
    return known.IdxFiles(facts, (), packed=md5s if packed else ("-",) * 4, plain=() if packed else md5s)


def test_files_are_called_by_their_contents(tmp_path, monkeypatch, no_network):
    folders = [tmp_path / name for name in ("clothes", "other", "mine")]
    for seed, folder in enumerate(folders):
        formats.write_idx_set(folder, NAMES, seed=10 * seed)
    others = known_as(folders[1], NAMES, "Others", packed=True)
    monkeypatch.setattr(known, "_ALL", (known_as(folders[0], NAMES, "Clothes", packed=False), others))
    for name in NAMES:  # gzipped in whatever way, the contents are what they were
        plain = folders[0] / name
        plain.with_name(f"{name}.gz").write_bytes(gzip.compress(plain.read_bytes(), 1))
        plain.unlink()
    assert [load_dataset("mnist", folder).facts.title for folder in folders] == ["Clothes", "Others", "mine"]
    unknown = load_dataset("mnist", folders[2])
    assert "MNIST" not in str(unknown.facts)
    assert unknown.classes == tuple("0123456789")
    for name, other in zip(NAMES, formats.emnist_names("mnist"), strict=True):
        (folders[1] / name).rename(folders[1] / other)
    with pytest.raises(TrainingError, match=r"emnist-mnist-train.* a file of Others, not of EMNIST: --dataset fashion"):
        load_dataset("emnist-mnist", folders[1])
    for name, other in list(zip(NAMES, formats.emnist_names("mnist"), strict=True))[2:]:
        (folders[0] / f"{name}.gz").unlink()
        (folders[1] / other).rename(folders[0] / name)
    with pytest.raises(TrainingError, match=r"the training images of Clothes, but .* the test images of Others"):
        load_dataset("mnist", folders[0])


def test_labels_of_qmnist_and_its_images(tmp_path):
    def labels(count):
        return numpy.stack([numpy.arange(count) * step % 10 for step in range(1, 9)], 1).astype("i4")

    names = list(known.QMNIST.md5s)
    written = formats.write_idx_set(tmp_path, [name.removesuffix(".gz") for name in names], labels=labels, ending=".gz")
    data = load_dataset("qmnist", tmp_path)
    assert data.train.labels.tolist() == [n % 10 for n in range(20)]
    assert numpy.array_equal(data.test.images[:, 0].numpy(), written[2])
    header = struct.pack(">4B2I", 0, 0, 0x0C, 2, 20, 8)
    assert (
        known.idx_digest(torch.from_numpy(written[1]))
        == hashlib.md5(header + written[1].byteswap().tobytes()).hexdigest()
    )


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Folder that a local server offers as the only mirror, and the files' hashes with it."""
    served = tmp_path / "mirror"
    write_mnist(served, gzipped=NAMES)
    hashes = tuple(hashlib.md5((served / f"{name}.gz").read_bytes()).hexdigest() for name in NAMES)
    with mirror_of(served) as address:
        monkeypatch.setattr(mnist, "MNIST", replace(known.MNIST, mirrors=(address,), packed=hashes))
        yield served


def test_absent_files_are_fetched(tmp_path, mirror):
    data_dir = tmp_path / "new" / "data"
    data = load_dataset("mnist", data_dir)
    assert (len(data.train), len(data.test)) == (40, 20)
    assert sorted(file.name for file in data_dir.iterdir()) == sorted(f"{name}.gz" for name in NAMES)
    (data_dir / f"{NAMES[0]}.gz").unlink()
    assert len(load_dataset("mnist", data_dir).train) == 40  # what is absent of a fetched one
    for file in mirror.iterdir():
        file.unlink()
    assert len(load_dataset("mnist", data_dir).train) == 40  # and only once


def test_the_cache_is_filled_whatever_else_lies_there(tmp_path, mirror, monkeypatch):
    monkeypatch.setattr(mnist, "user_cache", lambda dataset: tmp_path / dataset)
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "tmp-of-a-killed-download").write_bytes(b"half")
    assert len(load_dataset("mnist").train) == 40


def test_a_fetched_file_with_another_hash_is_refused(tmp_path, mirror):
    (mirror / "train-labels-idx1-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(TrainingError, match=r"train-labels-idx1-ubyte.gz is not in .* \(ValueError\)"):
        load_dataset("mnist", tmp_path / "data")
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["train-images-idx3-ubyte.gz"]


def test_without_a_network_no_folder_is_left_behind(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    nowhere = ("http://127.0.0.1:9/", "http://127.0.0.1:9/again/")
    monkeypatch.setattr(mnist, "MNIST", replace(known.MNIST, mirrors=nowhere))
    for data_dir in (tmp_path / "new" / "data", tmp_path / "there" / "data", tmp_path / "there"):
        with pytest.raises(TrainingError, match=r"cannot be fetched from .* or .*again.*name it with --data-dir"):
            load_dataset("mnist", data_dir)
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_the_known_hashes_cover_every_file():
    sets = known._ALL
    hashes = [md5 for files in sets for md5 in (*files.packed, *files.plain) if md5]
    assert all(len(files.packed) == len(files.names) == 4 and len(files.plain) in (0, 4) for files in sets)
    assert all(len(bytes.fromhex(md5)) == 16 for md5 in hashes)
    assert len(set(hashes)) == len(hashes)
    assert len({files.facts.name for files in sets}) == len(sets)
