"""One picture of any size and kind, brought to what a network of one's own images takes.

Training and ``capsroute predict`` call the same function, so that a network meets what it learned from.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from capsroute import no_memory
from capsroute.training.errors import TrainingError
from capsroute.training.extras import require

__all__ = ["KINDS", "Header", "PictureError", "look", "prepared"]

KINDS = "JPEG, PNG, WebP, TIFF, GIF, BMP"
"""What can be read, for people."""
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM")
_JPEG = ("JPEG", "MPO")  # the latter is what many telephones make of the former
_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N")
_GREY = ("1", "L", "LA", "La", *_GREY_16, "I")
_PLAIN = ("L", "RGB", "RGBA", "CMYK")  # that Pillow resizes as they are
_SMALLEST = 8  # pixels; what is smaller shows nothing, such as the 1x1 pixels that count visitors of a page
_PURPOSE = "reading pictures"


class PictureError(Exception):
    """A file is no picture that can be read; the message is a clause that does not name it."""


class Header(NamedTuple):
    """What a picture says of itself before it is decoded."""

    width: int
    height: int
    colour: bool


def look(file: IO[bytes]) -> Header:
    """Size and kind of a picture, by its header.

    Raises:
        PictureError: It is none, or too small or too large.
        TrainingError: Pillow is not installed.
    """
    with _opened(file) as image:
        return Header(image.width, image.height, _has_colours(image))


def prepared(file: IO[bytes], side: int, channels: int) -> Tensor:
    """The middle square of a picture, as large as its shorter side, resized.

    The first frame is taken, upright as its EXIF orientation says; what is transparent lies on white; 16 bits become 8.
    A square of the very size keeps its pixels.

    Args:
        file: Contents of an image file.
        side: Height and width of the result in pixels.
        channels: 1 for grey (Rec. 601), 3 for colours.

    Returns:
        ``[channels, side, side]``, uint8.

    Raises:
        PictureError: It is no picture, damaged, too small or too large, or has pixels of an unknown meaning.
        TrainingError: Pillow is not installed, or memory has run out.
    """
    operations = require("PIL.ImageOps", _PURPOSE)
    with _opened(file) as image:
        if (
            image.format in _JPEG
        ):  # decoded at a half, a quarter or an eighth of its size, but not near that of the result
            image.draft(None, (4 * side, 4 * side))
        image.load()
        orientation = image.getexif()
        # Resized first: all else is then done on few pixels.
        square = _square(_resizable(image), side)
        square.info["exif"] = orientation.tobytes()
        upright = operations.exif_transpose(square)
        flat = _on_white(upright).convert("L" if channels == 1 else "RGB")
        pixels = torch.from_numpy(np.array(flat, dtype=np.uint8))
    return pixels.unsqueeze(0) if channels == 1 else pixels.permute(2, 0, 1).contiguous()


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[Any]:
    """An image of Pillow, not decoded yet; within it, whatever a damaged file raises becomes one clause."""
    pillow = require("PIL.Image", _PURPOSE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        warnings.simplefilter("error", pillow.DecompressionBombWarning)
        try:
            pillow.init()
            known = [name for name in _FORMATS if name in pillow.OPEN]  # WebP is not in every build
            with pillow.open(file, formats=known) as image:
                if min(image.size) < _SMALLEST:
                    raise PictureError(f"it has {image.width}x{image.height} pixels, less than {_SMALLEST}x{_SMALLEST}")
                yield image
        except (PictureError, TrainingError):
            raise
        except pillow.UnidentifiedImageError:
            raise PictureError(f"it is none of {KINDS}") from None
        except (pillow.DecompressionBombError, pillow.DecompressionBombWarning):
            raise PictureError(f"it has more than {pillow.MAX_IMAGE_PIXELS:,} pixels") from None
        except Exception as error:  # a damaged image raises anything
            if sentence := no_memory.sentence_of(error):
                raise TrainingError(f"cannot read pictures: {sentence}") from error
            raise PictureError(f"it is damaged: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _has_colours(image: Any) -> bool:
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
        return bool((palette != palette[:, :1]).any())
    return image.mode not in _GREY


def _resizable(image: Any) -> Any:
    """A loaded image in a mode whose pixels can be averaged."""
    if image.mode in _GREY_16 or (image.mode == "I" and image.format == "PNG"):
        values = np.asarray(image).astype(np.uint32)
        return require("PIL.Image", _PURPOSE).fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise PictureError(f"its pixels are of the kind {image.mode}, of which nobody says what is white")
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBa"):
        return image.convert("RGBA")
    if image.mode in _PLAIN:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _square(image: Any, side: int) -> Any:
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    if short == side:
        return image.crop(box)
    return image.resize((side, side), require("PIL.Image", _PURPOSE).Resampling.BILINEAR, box=box)


def _on_white(image: Any) -> Any:
    if image.mode != "RGBA":
        return image
    pillow = require("PIL.Image", _PURPOSE)
    return pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image)
