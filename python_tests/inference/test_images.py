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


@pytest.fixture
def path(tmp_path):
    return tmp_path / "picture.png"


def as_grey(array):
    return torch.from_numpy(array.astype(np.float32) / 255).unsqueeze(0)


def test_grey(path):
    Image.fromarray(RAMP).save(path)
    image = read_image(path, GREY)
    assert image.path == path
    assert image.pixels.dtype == torch.float32
    assert torch.equal(image.pixels, as_grey(RAMP))
    assert image.notes == ()


def test_colours(path):
    Image.fromarray(RGB).save(path)
    image = read_image(path, COLOUR)
    assert torch.equal(image.pixels, torch.from_numpy(RGB.astype(np.float32) / 255).permute(2, 0, 1))
    assert image.notes == ()


def test_colours_for_a_grey_network(path):
    Image.fromarray(RGB).save(path)
    image = read_image(path, GREY)
    expected = torch.from_numpy(RGB.astype(np.float32) / 255) @ torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(image.pixels[0], expected)
    assert image.notes == ("colours turned into grey",)


def test_grey_that_was_saved_in_colour_is_grey(path):
    Image.fromarray(RAMP).convert("RGB").save(path)
    image = read_image(path, GREY)
    assert torch.equal(image.pixels, as_grey(RAMP))
    assert image.notes == ()


def test_grey_for_a_network_of_colours(path):
    Image.fromarray(RAMP).save(path)
    image = read_image(path, COLOUR)
    assert torch.equal(image.pixels, as_grey(RAMP).expand(3, -1, -1))
    assert image.notes == ("grey given to a network for colours",)


def test_sixteen_bits(path):
    values = (np.arange(24, dtype=np.uint16) * 2800).reshape(4, 6)
    Image.fromarray(values).save(path)
    torch.testing.assert_close(read_image(path, GREY).pixels[0], torch.from_numpy(values.astype(np.float32)) / 65535)


def test_one_bit(path):
    Image.fromarray(RAMP > 100).save(path)
    assert torch.equal(read_image(path, GREY).pixels[0], torch.from_numpy(RAMP > 100).float())


def test_a_palette(path):
    palette = Image.fromarray((RAMP > 100).astype(np.uint8), mode="P")
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.save(path)
    pixels = read_image(path, COLOUR).pixels
    assert torch.equal(pixels[0], torch.from_numpy(RAMP <= 100).float())
    assert torch.equal(pixels[2], torch.from_numpy(RAMP > 100).float())


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha(path, mode):
    Image.fromarray(RAMP).convert(mode).save(path)
    assert torch.equal(read_image(path, GREY).pixels, as_grey(RAMP))
    transparent = Image.fromarray(RAMP).convert(mode)
    transparent.putalpha(Image.fromarray(np.where(RAMP > 0, 255, 254).astype(np.uint8)))
    transparent.save(path)
    with pytest.raises(ImageError, match=r"picture.png has transparent pixels: put it on a background first$"):
        read_image(path, GREY)


def test_a_transparent_colour(path):
    Image.fromarray(RAMP).save(path, transparency=0)
    with pytest.raises(ImageError, match=r"picture.png has transparent pixels"):
        read_image(path, GREY)


def test_a_transparent_grey_of_sixteen_bits(path):
    values = (np.arange(24, dtype=np.uint16) * 2800).reshape(4, 6)
    Image.fromarray(values).save(path, transparency=2801)
    with Image.open(path) as image:
        assert image.info["transparency"] == 2801
    torch.testing.assert_close(read_image(path, GREY).pixels[0], torch.from_numpy(values.astype(np.float32)) / 65535)
    Image.fromarray(values).save(path, transparency=2800)
    with pytest.raises(ImageError, match="has transparent pixels: put it on a background first"):
        read_image(path, GREY)


def test_jpeg(tmp_path):
    path = tmp_path / "picture.JPG"
    Image.fromarray(RAMP).save(path, format="JPEG", quality=100)
    torch.testing.assert_close(read_image(path, GREY).pixels, as_grey(RAMP), rtol=0, atol=0.02)


def test_cmyk(tmp_path):
    Image.new("CMYK", (6, 4)).save(tmp_path / "picture.jpg")
    with pytest.raises(ImageError, match=r"picture.jpg has pixels of the kind CMYK: save it as RGB or grey first$"):
        read_image(tmp_path / "picture.jpg", GREY)


def test_the_orientation_of_a_camera(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    Image.fromarray(np.ascontiguousarray(RAMP.T[::-1])).save(tmp_path / "p.jpg", quality=100, exif=exif)
    image = read_image(tmp_path / "p.jpg", GREY)
    torch.testing.assert_close(image.pixels, as_grey(RAMP), rtol=0, atol=0.02)
    assert image.notes == ("turned as its EXIF orientation says",)


def test_another_size(path):
    Image.fromarray(RAMP).save(path)
    with pytest.raises(ImageError, match=r"picture.png has 6x4 pixels, the network takes 8x9: .*--resize$"):
        read_image(path, (1, 9, 8))


def test_resizing_crops_the_middle(path):
    wide = np.zeros((8, 20), dtype=np.uint8)
    wide[:, 6:14] = 200  # the middle 8x8
    Image.fromarray(wide).save(path)
    image = read_image(path, (1, 4, 4), resize=True)
    torch.testing.assert_close(image.pixels, torch.full((1, 4, 4), 200 / 255))
    assert image.notes == ("resized from 20x8 to 4x4",)
    Image.fromarray(np.ascontiguousarray(wide.T)).save(path)
    torch.testing.assert_close(read_image(path, (1, 4, 4), resize=True).pixels, torch.full((1, 4, 4), 200 / 255))


def test_resizing_takes_means_where_it_makes_smaller(path):
    checkered = (np.indices((32, 32)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checkered).save(path)
    inner = read_image(path, (1, 4, 4), resize=True).pixels[0, 1:-1, 1:-1]
    torch.testing.assert_close(inner, torch.full((2, 2), 0.5), rtol=0, atol=0.01)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 7)])
def test_resizing_of_any_size(path, size):
    Image.new("L", size, 255).save(path)
    torch.testing.assert_close(read_image(path, (1, 4, 6), resize=True).pixels, torch.ones(1, 4, 6))


def test_inverting(path):
    Image.fromarray(RAMP).save(path)
    assert torch.equal(read_image(path, GREY, invert=True).pixels, 1 - as_grey(RAMP))


def whole_png():
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8)).save(file, format="PNG")
    return file.getvalue()


def flipped(raw):
    return raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 255]) + raw[len(raw) // 2 + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: b"hello\n", "is not a PNG or JPEG image"),
        (lambda raw: b"", "is not a PNG or JPEG image"),
        (lambda raw: raw[:20], "is not a PNG or JPEG image|is damaged or truncated"),
        (lambda raw: raw[: len(raw) // 2], "is damaged or truncated"),
        (flipped, "is damaged or truncated"),
    ],
)
def test_damaged_files(path, damage, message):
    path.write_bytes(damage(whole_png()))
    with pytest.raises(ImageError, match=f"picture.png ({message})") as caught:
        read_image(path, (1, 40, 60))
    assert "\n" not in str(caught.value)


def test_a_truncated_jpeg(tmp_path):
    path = tmp_path / "p.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(ImageError, match=r"p.jpg is damaged or truncated"):
        read_image(path, (1, 80, 80))


def test_other_formats(path):
    Image.fromarray(RAMP).save(path, format="GIF")
    with pytest.raises(ImageError, match=r"picture.png is not a PNG or JPEG image$"):
        read_image(path, GREY)


def test_several_frames(path):
    Image.fromarray(RAMP).save(path, save_all=True, append_images=[Image.fromarray(255 - RAMP)])
    with pytest.raises(ImageError, match=r"picture.png holds 2 frames: save the one that is meant$"):
        read_image(path, GREY)


def test_an_image_that_would_fill_the_memory(path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(ImageError, match=r"picture.png has more than [\d,]+ pixels: make it smaller first$"):
        read_image(path, GREY, resize=True)


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
