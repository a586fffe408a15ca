"""Images of every kind: turned into the right numbers, or refused with a sentence that names the file."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from capsroute.inference import ImageError, read_image
from capsroute.training import TrainingError

GREY, COLOUR = (1, 4, 6), (3, 4, 6)
RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
RGB = np.stack([RAMP, RAMP + 5, 255 - RAMP], axis=-1)
SIXTEEN = (np.arange(24, dtype=np.uint16) * 2800).reshape(4, 6)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "picture.png"


def grey(array):
    return torch.from_numpy(array.astype(np.float32)).unsqueeze(0)


def palette():
    image = Image.fromarray((RAMP > 100).astype(np.uint8), mode="P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    return image


DARK_ON_LIGHT = (
    "dark strokes on a light ground, where handwritten digits are light on dark: --invert makes black and white change "
    "places"
)


@pytest.mark.parametrize(
    ("image", "shape", "expected", "notes"),
    [
        (Image.fromarray(RAMP), GREY, grey(RAMP) / 255, ()),
        (Image.fromarray(RAMP > 100), GREY, grey(RAMP > 100), (DARK_ON_LIGHT,)),
        (Image.fromarray(SIXTEEN), GREY, grey(SIXTEEN) / 65535, ()),
        (Image.fromarray(RAMP), COLOUR, grey(RAMP).expand(3, -1, -1) / 255, ("grey given to a network for colours",)),
        (Image.fromarray(RGB), COLOUR, grey(RGB)[0].permute(2, 0, 1) / 255, ()),
        (
            Image.fromarray(RGB),
            GREY,
            (grey(RGB) / 255) @ torch.tensor([0.299, 0.587, 0.114]),
            ("colours turned into grey",),
        ),
        (Image.fromarray(RAMP).convert("RGB"), GREY, grey(RAMP) / 255, ()),
        (Image.fromarray(RAMP).convert("LA"), GREY, grey(RAMP) / 255, ()),
        (Image.fromarray(RAMP).convert("RGBA"), GREY, grey(RAMP) / 255, ()),
        (palette(), COLOUR, torch.cat([grey(RAMP <= 100), torch.zeros(GREY), grey(RAMP > 100)]), ()),
    ],
    ids=[
        *("grey", "one bit", "sixteen bits", "grey for colours", "colours", "colours for grey", "grey saved in colour"),
        *("grey and alpha", "opaque alpha", "palette"),
    ],
)
def test_pixels(path, image, shape, expected, notes):
    image.save(path)
    read = read_image(path, shape)
    assert (read.path, read.notes, read.pixels.dtype) == (path, notes, torch.float32)
    torch.testing.assert_close(read.pixels, expected)
    inverted = read_image(path, shape, invert=True)
    assert torch.equal(inverted.pixels, 1 - read.pixels)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_that_shows(path, mode):
    transparent = Image.fromarray(RAMP).convert(mode)
    transparent.putalpha(Image.fromarray(np.where(RAMP > 0, 255, 254).astype(np.uint8)))
    transparent.save(path)
    with pytest.raises(ImageError, match=r"picture.png has transparent pixels: put it on a background first$"):
        read_image(path, GREY)


@pytest.mark.parametrize(("values", "absent", "present"), [(RAMP, 5, 0), (SIXTEEN, 2801, 2800)], ids=["8", "16"])
def test_a_transparent_colour(path, values, absent, present):
    Image.fromarray(values).save(path, transparency=absent)
    with Image.open(path) as image:
        assert image.info["transparency"] == absent
    torch.testing.assert_close(read_image(path, GREY).pixels, grey(values) / np.iinfo(values.dtype).max)
    Image.fromarray(values).save(path, transparency=present)
    with pytest.raises(ImageError, match="has transparent pixels: put it on a background first"):
        read_image(path, GREY)


def test_jpeg_and_the_orientation_of_a_camera(tmp_path):
    path = tmp_path / "picture.JPG"
    Image.fromarray(RAMP).save(path, format="JPEG", quality=100)
    torch.testing.assert_close(read_image(path, GREY).pixels, grey(RAMP) / 255, rtol=0, atol=0.02)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    Image.fromarray(np.ascontiguousarray(RAMP.T[::-1])).save(path, format="JPEG", quality=100, exif=exif)
    image = read_image(path, GREY)
    torch.testing.assert_close(image.pixels, grey(RAMP) / 255, rtol=0, atol=0.02)
    assert image.notes == ("turned as its EXIF orientation says",)


def test_another_size(path):
    Image.fromarray(RAMP).save(path)
    with pytest.raises(ImageError, match=r"picture.png has 6x4 pixels, the network takes 8x9: .*--resize$"):
        read_image(path, (1, 9, 8))


def test_resizing_crops_the_middle(path):
    wide = np.zeros((8, 20), dtype=np.uint8)
    wide[:, 6:14] = 200  # the middle 8x8
    for array, size in ((wide, "20x8"), (np.ascontiguousarray(wide.T), "8x20")):
        Image.fromarray(array).save(path)
        image = read_image(path, (1, 4, 4), resize=True)
        torch.testing.assert_close(image.pixels, torch.full((1, 4, 4), 200 / 255))
        assert image.notes == (f"resized from {size} to 4x4",)


def test_resizing_takes_means_where_it_makes_smaller(path):
    checkered = (np.indices((32, 32)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checkered).save(path)
    inner = read_image(path, (1, 4, 4), resize=True).pixels[0, 1:-1, 1:-1]
    torch.testing.assert_close(inner, torch.full((2, 2), 0.5), rtol=0, atol=0.01)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 7)])
def test_resizing_of_any_size(path, size):
    Image.new("L", size, 255).save(path)
    torch.testing.assert_close(read_image(path, (1, 4, 6), resize=True).pixels, torch.ones(1, 4, 6))


def contents(image, **options):
    """What a file of an image holds, PNG unless told otherwise."""
    file = io.BytesIO()
    image.save(file, **{"format": "PNG", **options})
    return file.getvalue()


def enormous():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8))
PNG, JPEG = contents(NOISE), contents(NOISE, format="JPEG")
HALF = len(PNG) // 2


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"hello\n", "is not a PNG or JPEG image$"),
        (b"", "is not a PNG or JPEG image$"),
        (contents(NOISE, format="GIF"), "is not a PNG or JPEG image$"),
        (PNG[:20], "is not a PNG or JPEG image|is damaged or truncated"),
        (PNG[:HALF], "is damaged or truncated"),
        (PNG[:HALF] + bytes([PNG[HALF] ^ 255]) + PNG[HALF + 1 :], "is damaged or truncated"),
        (JPEG[:1500], "is damaged or truncated"),
        (enormous(), r"has more than [\d,]+ pixels: make it smaller first$"),
        (
            contents(NOISE, save_all=True, append_images=[NOISE.rotate(180)]),
            "holds 2 frames: save the one that is meant$",
        ),
        (
            contents(Image.new("CMYK", (60, 40)), format="JPEG"),
            "has pixels of the kind CMYK: save it as RGB or grey first$",
        ),
    ],
    ids=["text", "empty", "gif", "header", "half", "flipped", "half a jpeg", "enormous", "frames", "cmyk"],
)
def test_what_is_no_image(path, raw, message):
    path.write_bytes(raw)
    with pytest.raises(ImageError, match=f"picture.png ({message})") as caught:
        read_image(path, (1, 40, 60))
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(ImageError, match=r"cannot read the image .*/absent.png: no such file$"):
        read_image(tmp_path / "absent.png", GREY)
    with pytest.raises(ImageError, match=r"cannot read the image .*: it is a folder$"):
        read_image(tmp_path, GREY)


def test_a_network_of_other_channels(path):
    Image.fromarray(RAMP).save(path)
    with pytest.raises(ImageError, match="cannot be given to a network of 2 channels, only of 1 or 3"):
        read_image(path, (2, 4, 6))


def test_without_pillow(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(TrainingError, match=r"reading images needs the module PIL.*pip install"):
        read_image(path, GREY)
