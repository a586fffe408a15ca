"""The python version of CIFAR-10, and zip files in its place."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle

import numpy
import pytest
import torch

from capsroute.training import TrainingError
from capsroute.training.datasets import cifar10
from capsroute.training.datasets.cifar10 import load_cifar10
from capsroute.training.datasets.cifar10_archive import read_cifar10_archive
from python_tests.training.archives import (
    CLASSES,
    cifar10_members,
    class_folders,
    image_file,
    mirror_of,
    pixels_of,
    python2_batch,
    random_pixels,
    write_tar,
    write_zip,
)

FIRST = "cifar-10-batches-py/data_batch_1"
ARCHIVE = "cifar-10-python.tar.gz"


def write_archive(folder, **changes):
    """An archive in which the members ``changes`` are replaced; None leaves one out."""
    members = {**cifar10_members(), **{f"cifar-10-batches-py/{name}": value for name, value in changes.items()}}
    folder.mkdir(exist_ok=True)
    write_tar(folder / ARCHIVE, {name: contents for name, contents in members.items() if contents is not None})
    return folder / ARCHIVE


def test_all_batches_come_in_their_order(tmp_path):
    train, test = read_cifar10_archive(write_archive(tmp_path))
    assert train.image_shape == test.image_shape == (3, 32, 32)
    assert torch.equal(train.images, torch.cat([random_pixels(4, n) for n in range(5)]).reshape(20, 3, 32, 32))
    assert train.labels.tolist() == [(n + image) % 10 for n in range(5) for image in range(4)]
    assert torch.equal(test.images, random_pixels(6, 5).reshape(6, 3, 32, 32))
    assert test.labels.tolist() == [(5 + image) % 10 for image in range(6)]
    images, _ = train.batch(slice(0, 2))
    assert images.dtype == torch.float32
    assert images.max() <= 1


def test_the_pickles_of_these_tests_are_of_the_original_form():
    """Numpy itself reads from them what the archive reader does."""
    pixels = random_pixels(3)
    for by_columns in (False, True):
        values = pickle.loads(python2_batch(pixels, [3, 1, 4], by_columns=by_columns), encoding="bytes")
        assert numpy.array_equal(values[b"data"], pixels.numpy())
        assert values[b"labels"] == [3, 1, 4]


def pickled(values, protocol):
    return pickle.dumps(values, protocol)


VALUES = {b"data": random_pixels(4, 9).numpy(), b"labels": [0, 1, 2, 3]}


@pytest.mark.parametrize(
    "contents",
    [python2_batch(random_pixels(4, 9), [0, 1, 2, 3], by_columns=True), pickled(VALUES, 3), pickled(VALUES, 4)],
    ids=["by columns", "protocol 3", "protocol 4"],
)
def test_other_ways_to_pickle_the_same_batch(tmp_path, contents):
    train, _ = read_cifar10_archive(write_archive(tmp_path, data_batch_1=contents))
    assert torch.equal(train.images[:4].flatten(1), random_pixels(4, 9))
    assert train.labels[:4].tolist() == [0, 1, 2, 3]


class Malicious:
    """Runs a command where it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_no_code_of_a_pickle_runs(tmp_path, protocol):
    marker = tmp_path / "ran"
    for bad in (
        Malicious(os.mkdir, str(marker)),
        Malicious(eval, f"__import__('os').mkdir({str(marker)!r})"),
        Malicious(getattr, "text", "upper"),
    ):
        contents = pickled({b"data": bad, b"labels": []}, protocol)
        with pytest.raises(TrainingError, match=r"data_batch_1 is no pickled batch .*: it asks for \w+\.\w+"):
            read_cifar10_archive(write_archive(tmp_path, data_batch_1=contents))
    assert not marker.exists()
    assert pickle.loads(pickled(Malicious(os.mkdir, str(marker)), protocol)) is None
    assert marker.exists()  # these pickles do run elsewhere


def test_no_name_of_numpy_is_admitted_but_three(tmp_path):
    contents = b"\x80\x02}(U\x04datacnumpy\nfromfile\n(U\x04/etctRU\x06labels]u."
    with pytest.raises(TrainingError, match=r"it asks for numpy\.fromfile"):
        read_cifar10_archive(write_archive(tmp_path, data_batch_1=contents))
    dotted = b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93."
    with pytest.raises(TrainingError, match=r"it asks for numpy\.ndarray\.dump"):
        read_cifar10_archive(write_archive(tmp_path, data_batch_1=dotted))


PIXELS = random_pixels(4)
GOOD = python2_batch(PIXELS, [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (None, f"holds no {FIRST}: it is not the python version of CIFAR-10"),
        (b"", "data_batch_1 is no pickled batch of CIFAR-10, or it is damaged"),
        (b"\x89PNG\r\n\x1a\n", "data_batch_1 is no pickled batch of CIFAR-10, or it is damaged"),
        (GOOD[:-200], "data_batch_1 is no pickled batch of CIFAR-10, or it is damaged"),
        (pickled([1, 2], 2), "data_batch_1 is not a dictionary with data and labels"),
        (pickled({b"data": None}, 3), "data_batch_1 is not a dictionary with data and labels"),
        (pickled({b"data": None, b"labels": []}, 3), "data is not an array of unsigned bytes"),
        (python2_batch(PIXELS, [0] * 4, code=b"f4"), "data is not an array of unsigned bytes"),
        (GOOD.replace(b"J" + (4).to_bytes(4, "little"), b"J\x05\0\0\0", 1), "data is not an array of unsigned bytes"),
        (python2_batch(PIXELS[:, :3000], [0] * 4), r"data has the shape \[4, 3000\], not \[images, 3072\]"),
        (python2_batch(PIXELS[:0], []), r"data has the shape \[0, 3072\], not .* with at least one image"),
        (python2_batch(PIXELS, [0, 1, 2]), "data_batch_1 holds 4 images, but 3 labels"),
        (python2_batch(PIXELS, [0, 1, 2, 10]), "labels is not a list of whole numbers from 0 to 9"),
        (python2_batch(PIXELS, [0, 1, 2, -1]), "labels is not a list of whole numbers from 0 to 9"),
    ],
)
def test_bad_batches(tmp_path, contents, message):
    path = write_archive(tmp_path, data_batch_1=contents)
    with pytest.raises(TrainingError, match=message) as caught:
        read_cifar10_archive(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_member_that_is_no_file_or_too_large(tmp_path, monkeypatch):
    path = write_archive(tmp_path)
    monkeypatch.setattr("capsroute.training.datasets.cifar10_archive._LARGEST", 1000)
    with pytest.raises(TrainingError, match=f"{FIRST} is no file of at most 1,000 bytes"):
        read_cifar10_archive(path)


def test_damaged_archives(tmp_path):
    path = write_archive(tmp_path)
    whole = path.read_bytes()
    broken = [whole[: len(whole) * part // 12] for part in range(12)]
    broken += [b"no archive at all", gzip.compress(b"no tar"), whole[:-8] + b"\0" * 8]
    broken += [whole[:5000] + b"\xff" * 200 + whole[5200:]]
    for contents in broken:
        path.write_bytes(contents)
        with pytest.raises(TrainingError, match=r"cifar-10-python\.tar\.gz") as caught:
            read_cifar10_archive(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(TrainingError, match=r"cannot read .*: Is a directory"):
        read_cifar10_archive(tmp_path)


def test_the_archive_goes_before_zip_files(tmp_path):
    write_archive(tmp_path)
    (tmp_path / "train.zip").write_bytes(b"not looked at")
    loaded = load_cifar10(tmp_path)
    assert loaded.facts.title == tmp_path.name  # by its checksum, it is not CIFAR-10
    assert len(loaded.train) == 20


@pytest.mark.parametrize(
    ("formats", "title"),
    [(("JPEG", "JPEG"), "CIFAR-10, JPEG copy"), (("PNG", "JPEG"), "CIFAR-10, JPEG and PNG copy")],
)
def test_zip_files_are_named_as_what_they_are(tmp_path, formats, title):
    write_zip(tmp_path / "train.zip", class_folders(2, file_format=formats[0]))
    write_zip(tmp_path / "test.zip", class_folders(1, file_format=formats[1]))
    loaded = load_cifar10(tmp_path)
    assert loaded.facts.title == title
    assert sorted(loaded.train.labels.tolist()) == [n // 2 for n in range(20)]
    assert len(loaded.train.labels[:10].unique()) > 5  # the first ones are of many classes
    for part, count, file_format in ((loaded.train, 2, formats[0]), (loaded.test, 1, formats[1])):
        known = [pixels_of(contents) for contents in class_folders(count, file_format=file_format).values()]
        for image, label in zip(part.images, part.labels.tolist(), strict=True):
            assert any(torch.equal(image, other) for other in known[label * count : (label + 1) * count])


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (CLASSES[:9], "lacks classes of CIFAR-10: truck"),
        (CLASSES[1:9], "lacks classes of CIFAR-10: airplane, truck"),
        ((*CLASSES, "lorry"), "has other classes than CIFAR-10: lorry"),
        ((*CLASSES[:9], "lorry"), "lacks classes of CIFAR-10: truck; it has other classes than CIFAR-10: lorry"),
    ],
)
def test_zip_files_of_other_classes(classes, message, tmp_path):
    write_zip(tmp_path / "train.zip", class_folders(1))
    write_zip(tmp_path / "test.zip", class_folders(1, classes))
    with pytest.raises(TrainingError, match=rf"test\.zip {message}$"):
        load_cifar10(tmp_path)


def test_one_zip_file_alone(tmp_path):
    write_zip(tmp_path / "train.zip", {"airplane/0.png": image_file()})
    with pytest.raises(TrainingError, match=r"cannot read .*test\.zip: No such file"):
        load_cifar10(tmp_path)


def test_an_absent_archive_is_fetched_and_its_hash_checked(tmp_path, monkeypatch):
    served = write_archive(tmp_path / "mirror")
    with mirror_of(served.parent) as address:
        monkeypatch.setattr(cifar10, "_MIRRORS", (address,))
        message = (
            r"cifar-10-python\.tar\.gz is not in .* \(ValueError\): CIFAR-10 is wanted as .*name it with --data-dir"
        )
        with pytest.raises(TrainingError, match=message):
            load_cifar10(tmp_path / "data")
        monkeypatch.setattr(cifar10, "_MD5", hashlib.md5(served.read_bytes()).hexdigest())
        assert len(load_cifar10(tmp_path / "data").test) == 6
        (tmp_path / "data" / "notes.txt").write_text("beside which nothing is put")
        (tmp_path / "data" / ARCHIVE).unlink()
        with pytest.raises(TrainingError, match=r"holds notes\.txt: CIFAR-10 is wanted as"):
            load_cifar10(tmp_path / "data")


def test_unpacked_and_binary_batches_are_those_of_the_archive(tmp_path, monkeypatch):
    right = load_cifar10(write_archive(tmp_path / "archive").parent)
    members = cifar10_members()
    records = {}
    for number, (name, contents) in enumerate(members.items()):
        pixels = random_pixels(6 if "test" in name else 4, number)
        labels = (torch.arange(len(pixels)) + number) % 10
        rows = torch.cat([labels[:, None].to(torch.uint8), pixels], dim=1)
        records[f"{name.replace('-py', '-bin')}.bin"] = rows.numpy().tobytes()
        for place, file, text in (("python", name, contents), ("binary", f"{name}.bin", rows.numpy().tobytes())):
            (tmp_path / place / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place / file).write_bytes(text)
    (tmp_path / "packed").mkdir()
    write_tar(tmp_path / "packed/cifar-10-binary.tar.gz", records)
    for place in ("python", "binary", "packed"):
        found = load_cifar10(tmp_path / place)
        assert found.checksum == right.checksum
        assert "CIFAR" not in found.facts.title
    digests = [hashlib.md5(contents).hexdigest() for contents in members.values()]
    monkeypatch.setattr(cifar10, "_BATCH_MD5", tuple(digests))
    assert load_cifar10(tmp_path / "python").facts.title == "CIFAR-10"
    for contents, message in (
        (b"", "has 0 bytes"),
        (bytes(3074), "has 3,074 bytes, not 3,073"),
        (b"\x0a" * 3073, "label 10"),
    ):
        (tmp_path / "binary/cifar-10-batches-py/test_batch.bin").write_bytes(contents)
        with pytest.raises(TrainingError, match=rf"test_batch\.bin .*{message}"):
            load_cifar10(tmp_path / "binary")
