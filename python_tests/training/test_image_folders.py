"""Zip files with a folder of images per class."""

from __future__ import annotations

import struct
import zlib

import pytest
import torch

from capsroute.training import TrainingError
from capsroute.training.datasets.image_folders import read_image_folders
from python_tests.training.archives import class_folders, image_file, pixels_of, write_zip

COLOUR = (3, 32, 32)


def test_classes_and_images_are_sorted_by_name(tmp_path):
    members = {
        "dog/b.png": image_file(seed=1),
        "cat/2.jpg": image_file("JPEG", seed=2),
        "dog/a.PNG": image_file(seed=3),
        "cat/1.jpeg": image_file("JPEG", seed=4),
    }
    write_zip(tmp_path / "z.zip", members)
    read = read_image_folders(tmp_path / "z.zip", COLOUR)
    assert read.classes == ("cat", "dog")
    assert read.formats == ("JPEG", "PNG")
    assert read.images.labels.tolist() == [0, 0, 1, 1]
    for image, name in zip(read.images.images, ("cat/1.jpeg", "cat/2.jpg", "dog/a.PNG", "dog/b.png"), strict=True):
        assert torch.equal(image, pixels_of(members[name]))


def test_grey_images_of_any_size(tmp_path):
    members = {"a/0.png": image_file(size=(5, 7), mode="L"), "b/0.png": image_file(size=(5, 7), mode="L", seed=1)}
    write_zip(tmp_path / "z.zip", members)
    read = read_image_folders(tmp_path / "z.zip", (1, 7, 5))
    assert torch.equal(read.images.images, torch.stack([pixels_of(contents) for contents in members.values()]))
    assert read.formats == ("PNG",)


def test_what_other_systems_add_is_left_out(tmp_path):
    extra = {"__MACOSX/cat/._0000.png": b"x", ".DS_Store": b"x", "cat/.hidden.png": b"x", "cat/": b""}
    write_zip(tmp_path / "z.zip", {**extra, **class_folders(1, ("cat", "dog"))})
    assert len(read_image_folders(tmp_path / "z.zip", COLOUR).images) == 2


def png_header(width, height):
    """A PNG that says it is large, and holds nothing."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


PNG, JPEG = image_file(), image_file("JPEG")


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        (
            "cat/9.png",
            image_file(size=(32, 31)),
            "cat/9.png is an image of 32x31 pixels in mode RGB, not of 32x32 in mode",
        ),
        ("cat/9.png", image_file(mode="L"), "is an image of 32x32 pixels in mode L, not of 32x32 in mode RGB"),
        ("cat/9.png", image_file(mode="RGBA"), "in mode RGBA, not of 32x32 in mode RGB"),
        ("cat/9.jpg", JPEG[:300], "cat/9.jpg is no JPEG or PNG image, or it is damaged"),
        ("cat/9.png", PNG[:-40], "cat/9.png is no JPEG or PNG image, or it is damaged"),
        ("cat/9.png", PNG[:60] + b"\xff" * 50 + PNG[110:], "cat/9.png is no JPEG or PNG image, or it is damaged"),
        ("cat/9.png", b"", "cat/9.png is no JPEG or PNG image, or it is damaged"),
        ("cat/9.png", image_file("GIF", mode="L"), "cat/9.png is no JPEG or PNG image, or it is damaged"),
        ("cat/9.png", png_header(2000, 2000) + PNG[33:], "is an image of 2000x2000 pixels"),
        ("cat/9.png", png_header(50_000, 50_000), "cat/9.png is no JPEG or PNG image, or it is damaged"),
        ("cat/9.txt", b"words", "holds 'cat/9.txt', which is no image in the folder of a class"),
        ("cat/deep/9.png", PNG, "holds 'cat/deep/9.png', which is no image in the folder of a class"),
        ("9.png", PNG, "holds '9.png', which is no image in the folder of a class"),
        ("empty/", b"", "holds no image of the class empty"),
        ("../cat/9.png", PNG, "holds the unsafe path '../cat/9.png'"),
        ("cat/../../9.png", PNG, "holds the unsafe path"),
        ("/cat/9.png", PNG, "holds the unsafe path '/cat/9.png'"),
        ("cat\\..\\9.png", PNG, "holds the unsafe path"),
        ("C:/9.png", PNG, "holds the unsafe path 'C:/9.png'"),
    ],
)
def test_what_is_no_image_of_a_class(tmp_path, name, contents, message):
    write_zip(tmp_path / "z.zip", {**class_folders(1, ("cat", "dog")), name: contents})
    with pytest.raises(TrainingError, match=message) as caught:
        read_image_folders(tmp_path / "z.zip", COLOUR)
    assert str(tmp_path / "z.zip") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_large_files_are_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("capsroute.training.datasets.image_folders._LARGEST", 100)
    write_zip(tmp_path / "z.zip", class_folders(1, ("cat",)))
    with pytest.raises(TrainingError, match=r"0000\.png is larger than the 100 bytes of an image file"):
        read_image_folders(tmp_path / "z.zip", COLOUR)


def encrypted(contents):
    changed = bytearray(contents)
    changed[6] |= 1
    changed[contents.rindex(b"PK\x01\x02") + 8] |= 1
    return changed


@pytest.mark.parametrize(
    "damage",
    [
        lambda contents: contents[:500],
        lambda contents: contents[:200] + bytes([contents[200] ^ 0xFF]) + contents[201:],  # inside the image
        lambda contents: b"words",
        lambda contents: b"",
        encrypted,
    ],
    ids=["cut", "sum", "foreign", "empty", "encrypted"],
)
def test_damaged_zip_files(tmp_path, damage):
    path = tmp_path / "z.zip"
    write_zip(path, class_folders(1, ("cat",)))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TrainingError, match=r"z\.zip is not a zip file, or it is damaged"):
        read_image_folders(path, COLOUR)


def test_a_zip_file_of_nothing_and_none(tmp_path):
    write_zip(tmp_path / "z.zip", {})
    with pytest.raises(TrainingError, match="holds no folder of a class"):
        read_image_folders(tmp_path / "z.zip", COLOUR)
    with pytest.raises(TrainingError, match=r"cannot read .*absent\.zip: No such file"):
        read_image_folders(tmp_path / "absent.zip", COLOUR)
