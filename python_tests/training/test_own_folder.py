"""A folder of one's own images: what is found in it, what is said of it, and what is refused."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from capsroute.training import TrainingError
from capsroute.training.datasets import Dataset, ImageSet, ReadOptions, held_out, load_dataset
from python_tests.training.pictures import picture, write_classes, zipped

COUNTS = {"cat": 10, "dog": 5}


def load(path, **options):
    return load_dataset("folder", path, ReadOptions(**options))


def pixels_of(images):
    """What is in a set, whatever the order: bytes of each image, and its label."""
    return sorted(
        (image.numpy().tobytes(), int(label)) for image, label in zip(images.images, images.labels, strict=True)
    )


def expected_pixels(folder, names):
    """Read by Pillow and NumPy alone, at the very size."""
    found = []
    for label, name in enumerate(names):
        for file in (folder / name).rglob("*.png"):
            found.append((numpy.asarray(Image.open(file)).transpose(2, 0, 1).tobytes(), label))
    return sorted(found)


@pytest.fixture
def folder(tmp_path):
    return write_classes(tmp_path / "my", COUNTS)


def in_folder(folder, tmp_path):
    return folder


def in_zip(folder, tmp_path):
    return zipped(folder, tmp_path / "my.zip")


def in_zip_with_a_top(folder, tmp_path):
    path = zipped(folder, tmp_path / "my.zip", "my/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/my/cat/._0.png", b"")
    return path


def from_windows(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "my.zip", "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            member = zipfile.ZipInfo("x")
            member.filename = f"{file.parent.name}\\{file.name}"
            archive.writestr(member, file.read_bytes())
    return tmp_path / "my.zip"


def with_links_and_what_systems_leave(folder, tmp_path):
    (folder / "dog").rename(tmp_path / "elsewhere")
    (folder / "dog").symlink_to(tmp_path / "elsewhere")
    (folder / "dog" / "again").symlink_to(tmp_path / "elsewhere")
    for name in (".DS_Store", "Thumbs.db", "cat/._0.png", "dog/desktop.ini"):
        (folder / name).write_bytes(b"\0")
    return folder


@pytest.mark.parametrize(
    "form", [in_folder, in_zip, in_zip_with_a_top, from_windows, with_links_and_what_systems_leave]
)
def test_a_folder_per_class_in_every_form(folder, tmp_path, form):
    everything = [(bytes_, label) for bytes_, label in expected_pixels(*square(folder))]
    data = load(form(folder, tmp_path), image_size=10)
    assert data.classes == data.facts.classes == ("cat", "dog")
    assert (len(data.train), len(data.test), data.image_shape) == (12, 3, (3, 10, 10))
    assert torch.bincount(data.test.labels).tolist() == [2, 1]  # a fifth of each
    assert sorted(pixels_of(data.train) + pixels_of(data.test)) == everything
    assert (data.facts.title, data.record["left_out"]) == ("my", {})
    assert data.record["classes"] == {"cat": {"train": 8, "test": 2}, "dog": {"train": 4, "test": 1}}


def square(folder):
    """The folder with its pictures cropped to the middle, so that they keep their pixels when they are read."""
    for file in folder.rglob("*.png"):
        Image.open(file).crop((1, 0, 11, 10)).save(file)
    return folder, ("cat", "dog")


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Training", "val"), ("seg_train/a", "test_set/b")])
def test_parts_of_the_folder(tmp_path, train, test):
    write_classes(tmp_path / train, {"b": 4, "a": 3}, seed=0)
    write_classes(tmp_path / test, {"a": 2}, seed=50)
    (tmp_path / "README.txt").write_text("mine")
    data = load(tmp_path, image_size=8)
    assert (len(data.train), len(data.test), data.classes) == (7, 2, ("a", "b"))
    assert data.notes[-1] == f"1 file(s) or folder(s) lie beside the classes, and were not read: {tmp_path}/README.txt"
    with pytest.raises(TrainingError, match=r"test_share and test_seed have no effect: .* has test images of its own"):
        load(tmp_path, test_share=0.5)


def test_what_is_held_out_is_the_same_in_every_run_and_another_for_another_seed(folder):
    first, second, other = load(folder), load(folder), load(folder, test_seed=1)
    assert first.checksum == second.checksum != other.checksum
    assert len(load(folder, test_share=0.5).test) == 5 + 2
    shares = [
        held_out(ImageSet(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 0, 1, 1])), share)
        for share in (0.01, 0.99)
    ]
    assert [torch.bincount(data.test.labels).tolist() for data in shares] == [[1, 1], [2, 1]]


@pytest.mark.parametrize(
    ("sizes", "modes", "options", "shape"),
    [
        ([(30, 20)], ["L"], {}, (1, 20, 20)),
        ([(300, 200)], ["L", "RGB"], {}, (3, 64, 64)),
        ([(9, 9), (12, 50), (40, 40)], ["RGB"], {"channels": 1}, (1, 12, 12)),
        ([(9, 9)], ["L"], {"channels": 3, "image_size": 17}, (3, 17, 17)),
    ],
)
def test_size_and_colours(tmp_path, sizes, modes, options, shape):
    for seed, name in enumerate(("a", "a", "a", "b", "b", "b")):
        (tmp_path / name).mkdir(exist_ok=True)
        picture(seed, sizes[seed % len(sizes)], modes[seed % len(modes)]).save(tmp_path / name / f"{seed}.png")
    data = load(tmp_path, **options)
    assert data.image_shape == shape
    assert f"brought to {shape[1]}x{shape[1]} in {'grey' if shape[0] == 1 else 'colours'}" in data.notes[1]


def test_what_is_left_out_is_named(folder):
    (folder / "cat" / "notes.txt").write_text("hello")
    (folder / "cat" / "cut.png").write_bytes((folder / "cat" / "0.png").read_bytes()[:200])
    (folder / "dog" / "gone.png").symlink_to("nowhere")
    (folder / "dog" / "again.png").write_bytes((folder / "dog" / "0.png").read_bytes())
    (folder / "dog" / "cat.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    os.mkfifo(folder / "dog" / "pipe")
    data = load(folder)
    assert len(data.train) + len(data.test) == 16
    reasons = {Path(path).name: reason for path, reason in data.record["left_out"].items()}
    assert reasons.keys() == {"notes.txt", "cut.png", "gone.png", "pipe"}
    assert data.record["repeated"] == {f"{folder}/dog/again.png": f"{folder}/dog/0.png"}
    assert data.record["in_several_places"] == {f"{folder}/dog/cat.png": f"{folder}/cat/0.png"}
    assert data.notes[2].startswith("4 file(s) are no pictures that can be read, and were left out: ")
    assert data.notes[2].endswith(" and 1 more")
    assert "1 picture(s) come again in their class" in data.notes[3]


def loose(path):
    write_classes(path, {".": 3})


def labelled(path):
    loose(path)
    (path / "labels.csv").write_text("0.png,cat\n")


def packed_twice(path):
    zipped(write_classes(path / "my", COUNTS), path / "inner.zip")
    for file in (path / "my").rglob("*.png"):
        file.unlink()
    for folder in (path / "my" / "cat", path / "my" / "dog", path / "my"):
        folder.rmdir()


def same_but_for_case(path):
    write_classes(path, {"Cat": 2, "cat": 2, "dog": 2})


def all_broken(path):
    write_classes(path, COUNTS)
    for file in (path / "dog").iterdir():
        file.write_bytes(b"GIF89a")


def pixels_only(path):
    for name in COUNTS:
        (path / name).mkdir()
        Image.new("RGB", (1, 1)).save(path / name / "0.png")


def train_and_more(path):
    write_classes(path / "train", COUNTS)
    write_classes(path, {"new": 3}, seed=99)


def strange_test(path):
    write_classes(path / "train", COUNTS)
    write_classes(path / "test", {"cat": 2, "cow": 2}, seed=99)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "my is empty; expected is a folder per class, such as .*my/cat/1.jpg"),
        (lambda path: path.rmdir(), "data_dir names .*my, which is not there"),
        (loose, r"my holds no folders, but 3 file\(s\) lying loose \(3 of .png\); expected is a folder per class"),
        (
            labelled,
            r"4 file\(s\) lying loose .*: labels in a file, as labels.csv may hold them, are not read; expected",
        ),
        (packed_twice, "lying loose .*: name the zip file inner.zip itself, unpacked where it lies in another one"),
        (lambda path: write_classes(path, {"cat": 3}), "holds one class, cat, where two are the least"),
        (lambda path: write_classes(path, {"cat": 3, "dog": 0}), "has no file in the folder of the class dog"),
        (
            lambda path: write_classes(path, {"cat": 3, "dog": 1}),
            "the class dog has one picture, where one to train on",
        ),
        (same_but_for_case, "holds the folders Cat and cat, which differ in nothing but the case of their letters"),
        (all_broken, r"the class dog has no training picture that can be read: .*dog/0.png \(it is none of .* 2 more"),
        (pixels_only, r"my holds no picture that can be read: .*0.png \(it has 1x1 pixels, less than 8x8\)"),
        (train_and_more, "my holds train/ with folders in it, but no test/ .*: name .*my/train itself, or call"),
        (strange_test, "my/test has the class cow, which .*my/train has not"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_refused(tmp_path, make, message):
    path = tmp_path / "my"
    path.mkdir()
    make(path)
    refused(path, message)
    if path.exists():
        refused(zipped(path, tmp_path / "my.zip"), message.replace("my", "my.zip"))


def refused(path, message):
    with pytest.raises(TrainingError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        (
            "my.zip",
            b"PK\x03\x04 and no more",
            "data_dir must name a folder or a zip file, and .*my.zip is neither whole",
        ),
        ("../evil.png", b"", "holds the unsafe path '../evil.png'"),
        ("cat/bomb.png", bytes(2**25), r"cat/bomb.png \(it would grow from [\d,]+ to 33,554,432 bytes\)"),
    ],
)
def test_archives_that_are_not_unpacked(tmp_path, name, contents, message):
    path = tmp_path / "my.zip"
    path.write_bytes(contents)
    if name != "my.zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, contents)
            archive.writestr("dog/0.png", b"")
    with pytest.raises(TrainingError, match=message):
        load(path)


def test_what_a_data_set_does_not_take():
    for name, options, message in (
        ("folder", {}, "dataset folder needs --data-dir: a folder per class"),
        ("digits", {"data_dir": Path("my")}, "data_dir has no effect on the data set digits: .* choose .*folder"),
        ("mnist", {"options": ReadOptions(image_size=9)}, "image_size has no effect on the data set mnist: .* folder"),
        ("cifar", {}, "dataset must be one of digits, mnist, .*; got cifar"),
    ):
        with pytest.raises(TrainingError, match=message):
            load_dataset(name, **options)


def test_a_data_set_knows_what_it_holds():
    images = ImageSet(
        torch.arange(6 * 64, dtype=torch.int32).to(torch.uint8).view(6, 1, 8, 8), torch.tensor([0, 2, 1, 0, 2, 1])
    )
    data = Dataset(images[:4], images[4:])
    assert data.classes == ("0", "1", "2")
    others = [
        Dataset(images[:3], images[3:]),
        Dataset(ImageSet(images.images[:4], images.labels[2:6]), images[4:]),
        Dataset(ImageSet(images.images[:4].transpose(2, 3), images.labels[:4]), images[4:]),
        Dataset(ImageSet(images.images[:4], images.labels[:4], white=16), images[4:]),
    ]
    assert len({data.checksum, *(other.checksum for other in others)}) == 5
    turned = images.images.transpose(2, 3).contiguous().transpose(2, 3)
    assert Dataset(ImageSet(turned, images.labels)[:4], images[4:]).checksum == data.checksum
    with pytest.raises(ValueError, match=r"train has images of the shape \(1, 8, 8\), but test of \(1, 8, 4\)"):
        Dataset(images, ImageSet(images.images[..., :4], images.labels))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": numpy.zeros((2, 1, 8, 8), "uint8")}, TypeError, "images must be a torch.Tensor, got ndarray: "),
        ({"labels": [0, 1]}, TypeError, r"labels must be a torch.Tensor, got list: torch.as_tensor\(labels\)"),
        ({"images": torch.rand(2, 1, 8, 8)}, TypeError, "images must be of torch.uint8, got torch.float32: floats in"),
        ({"images": torch.zeros(2, 8, 8, dtype=torch.uint8)}, ValueError, r"images must be \[N, channels, H, W\], got"),
    ],
)
def test_what_is_no_image_set(change, error, message):
    with pytest.raises(error, match=message):
        ImageSet(**{"images": torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "labels": torch.arange(2), **change})
