"""One picture of any kind: what becomes of its pixels, against arithmetic of our own."""

from __future__ import annotations

import io
import zlib

import numpy
import pytest
import torch
from PIL import Image

from capsroute.training.datasets.pictures import PictureError, look, prepared
from python_tests.training.pictures import picture

RGB = numpy.asarray(picture(0, (9, 9)))
GREY = numpy.asarray(picture(0, (9, 9), "L"))
FRACTION = numpy.linspace(0, 255, 81).astype(numpy.uint8).reshape(9, 9)  # an alpha channel


def stored(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    return stored(Image.fromarray(RGB), "PNG", exif=exif)


def with_alpha(image):
    image.putalpha(Image.fromarray(FRACTION))
    return stored(image, "PNG")


def on_white(pixels, alpha):
    return pixels * (alpha / 255.0) + 255 * (1 - alpha / 255.0)


SIXTEEN = (numpy.arange(81, dtype=numpy.uint16) * 800).reshape(9, 9)
PALETTE = Image.fromarray(GREY // 64 * 64).convert("P")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (stored(Image.fromarray(GREY), "PNG"), GREY),
        (stored(Image.fromarray(RGB), "TIFF"), RGB),
        (stored(Image.fromarray(RGB), "BMP"), RGB),
        (stored(Image.fromarray(RGB), "WEBP", lossless=True), RGB),
        (stored(PALETTE, "GIF"), GREY // 64 * 64),
        (stored(Image.fromarray(RGB), "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))]), RGB),
        (stored(Image.fromarray(GREY > 99), "PNG"), (GREY > 99) * 255),
        (stored(Image.fromarray(SIXTEEN), "PNG"), SIXTEEN / 257.0),
        (with_alpha(Image.fromarray(RGB)), on_white(RGB, FRACTION[:, :, None])),
        (with_alpha(Image.fromarray(GREY)), on_white(GREY, FRACTION)),
        (
            stored(
                Image.merge(
                    "CMYK", [Image.fromarray(c) for c in (255 - RGB).transpose(2, 0, 1)] + [Image.new("L", (9, 9))]
                ),
                "TIFF",
            ),
            RGB,
        ),
        (rotated(), numpy.rot90(RGB, -1)),
    ],
    ids=["grey", "tiff", "bmp", "webp", "gif", "frames", "1 bit", "16 bits", "rgba", "grey alpha", "cmyk", "exif"],
)
def test_every_kind_of_pixel(file, expected):
    colours = expected if expected.ndim == 3 else numpy.stack([expected] * 3, -1)
    found = prepared(file, 9, 3).permute(1, 2, 0).double().numpy()
    assert numpy.abs(found - colours).max() <= 1
    file.seek(0)
    luma = (colours * [0.299, 0.587, 0.114]).sum(-1)
    assert numpy.abs(prepared(file, 9, 1)[0].double().numpy() - luma).max() <= 1.5
    file.seek(0)
    assert look(file)[:2] == (9, 9)


@pytest.mark.parametrize("size", [(48, 24), (24, 72)])
def test_the_shorter_side_is_resized_and_the_middle_taken(size):
    image = picture(3, size, "L")
    width, height = size[0] // 3, size[1] // 3
    whole = torch.from_numpy(numpy.array(image)).float()[None, None]
    resized = torch.nn.functional.interpolate(whole, (height, width), mode="bilinear", antialias=True)[0]
    left, top = (width - 8) // 2, (height - 8) // 2
    expected = resized[:, top : top + 8, left : left + 8]
    assert (prepared(stored(image, "PNG"), 8, 1).float() - expected).abs().max() <= 1


def test_a_large_jpeg_is_decoded_small_and_looks_alike():
    image = Image.linear_gradient("L").resize((1600, 1200)).convert("RGB")
    expected = prepared(stored(image, "PNG"), 16, 3).float()
    assert (prepared(stored(image, "JPEG", quality=95), 16, 3).float() - expected).abs().max() <= 4


def test_colours_are_known_by_the_header():
    grey, colours = Image.new("P", (9, 9)), Image.new("P", (9, 9))
    grey.putpalette([0, 0, 0, 200, 200, 200])
    colours.putpalette([0, 0, 0, 200, 10, 200])
    images = [(grey, False), (colours, True), (Image.new("L", (9, 9)), False), (Image.new("RGB", (9, 9)), True)]
    for image, expected in images:
        assert look(stored(image, "PNG")).colour == expected


def huge():
    """A PNG file that claims 20,000 x 20,000 pixels."""
    file = stored(Image.new("L", (9, 9)), "PNG").getvalue()
    header = b"IHDR" + (20_000).to_bytes(4, "big") * 2 + file[24:29]
    return io.BytesIO(file[:12] + header + zlib.crc32(header).to_bytes(4, "big") + file[33:])


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (io.BytesIO(b""), "none of JPEG, PNG"),
        (io.BytesIO(b"a,b\n1,2\n"), "none of JPEG, PNG"),
        (io.BytesIO(stored(Image.fromarray(RGB), "PNG").getvalue()[:-60]), "it is damaged: "),
        (stored(Image.new("RGB", (1, 1)), "PNG"), "it has 1x1 pixels, less than 8x8"),
        (huge(), "it has more than 89,478,485 pixels"),
        (stored(Image.new("F", (9, 9)), "TIFF"), "pixels are of the kind F"),
    ],
    ids=["empty", "text", "cut", "1x1", "huge", "float"],
)
def test_what_is_no_picture(file, message):
    with pytest.raises(PictureError, match=message):
        prepared(file, 9, 3)
