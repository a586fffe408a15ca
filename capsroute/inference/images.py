"""Image files as a network takes them: PNG or JPEG, turned into numbers only where their meaning is beyond doubt."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capsroute.inference.errors import ImageError
from capsroute.training.datasets.pictures import PictureError, look, prepared
from capsroute.training.extras import require

__all__ = ["InputImage", "read_image", "read_picture"]

_FORMATS = ("PNG", "JPEG")
# What Pillow calls 16-bit grey, in the versions that there are.
_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_HAVE_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
# Rec. 601, with which nearly every program turns colours into grey.
_LUMA = (0.299, 0.587, 0.114)
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


@dataclass(frozen=True)
class InputImage:
    """An image that fits a network.

    Args:
        path: Where it was read.
        pixels: ``[channels, H, W]``, float32 in [0, 1].
        notes: What was done to it, each a clause such as ``"colours turned into grey"``.
    """

    path: Path
    pixels: Tensor
    notes: tuple[str, ...] = ()


def read_image(path: Path, shape: Sequence[int], *, resize: bool = False, invert: bool = False) -> InputImage:
    """Reads a PNG or JPEG file.

    Grey of 1, 8 or 16 bits, RGB and palettes become numbers in [0, 1]. Colours become grey, and grey three equal
    channels, where the network wants that. An alpha channel is dropped where every pixel is opaque. The orientation
    that a camera wrote into the file is followed.

    Args:
        path: File.
        shape: ``(channels, H, W)`` of the network, with one or three channels.
        resize: Whether an image of another size is cropped to the middle part of the right proportions and then resized
            (bilinear, with antialiasing). Otherwise it is an error.
        invert: Whether black and white change places, for dark digits on white paper.

    Raises:
        ImageError: The file cannot be read, is no whole PNG or JPEG, holds pixels whose meaning depends on something
            else (transparency, CMYK, frames), or has another size than the network.
        TrainingError: Pillow is not installed.
    """
    channels, height, width = shape
    notes: list[str] = []
    pixels = _with_channels(_decode(path, notes), channels, path, notes)
    if pixels.shape[1:] != (height, width):
        if not resize:
            raise ImageError(
                f"{path} has {_size(pixels.shape)} pixels, the network takes {width}x{height}: let it be cropped and "
                "resized with --resize"
            )
        notes.append(f"resized from {_size(pixels.shape)} to {width}x{height}")
        pixels = _resized(pixels, height, width)
    if channels == 1 and not invert and _on_light(pixels):
        notes.append("dark on a light ground: networks that learned from light digits on dark need --invert")
    return InputImage(path, 1 - pixels if invert else pixels, tuple(notes))


def read_picture(path: Path, shape: Sequence[int], *, invert: bool = False) -> InputImage:
    """Reads an image file for a network that was trained on a folder of pictures, as its training read them.

    Args:
        path: File: JPEG, PNG, WebP, TIFF, GIF or BMP, of any size.
        shape: ``(channels, side, side)`` of the network.
        invert: Whether black and white change places.

    Raises:
        ImageError: The file cannot be read, or is no picture.
        TrainingError: Pillow is not installed.
    """
    channels, side, _ = shape
    _check_file(path)
    try:
        with path.open("rb") as file:
            header = look(file)
            file.seek(0)
            pixels = prepared(file, side, channels).float() / 255
    except PictureError as error:
        raise ImageError(f"cannot read the image {path}: {error}") from error
    except OSError as error:
        raise ImageError(f"cannot read the image {path}: {error.strerror or error}") from error
    notes = (
        []
        if (header.width, header.height) == (side, side)
        else [f"the middle of {header.width}x{header.height} pixels brought to {side}x{side}, as in the training"]
    )
    if header.colour and channels == 1:
        notes.append("colours turned into grey")
    return InputImage(path, 1 - pixels if invert else pixels, tuple(notes))


def _size(shape: Sequence[int]) -> str:
    return f"{shape[-1]}x{shape[-2]}"


def _check_file(path: Path) -> None:
    """Raises an :class:`ImageError` where there is no file that may be read."""
    if not os.path.isfile(path):  # which answers, where Path.is_file raises: a name may be too long
        present = "it is a folder" if os.path.isdir(path) else "it is no file"
        problem = present if os.path.exists(path) else "no such file"
        raise ImageError(f"cannot read the image {path}: {problem}")
    if not os.access(path, os.R_OK):
        raise ImageError(f"cannot read the image {path}: permission denied")


def _decode(path: Path, notes: list[str]) -> Tensor:
    """Pixels ``[1 or 3, H, W]`` in [0, 1], the right way up."""
    module = require("PIL.Image", "reading images")
    operations = require("PIL.ImageOps", "reading images")
    _check_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", module.DecompressionBombWarning)
        try:
            with module.open(path, formats=_FORMATS) as image:
                if getattr(image, "n_frames", 1) > 1 and image.format == "PNG":
                    raise ImageError(f"{path} holds {image.n_frames} frames: save the one that is meant")
                image.load()
                upright = operations.exif_transpose(image)
                if upright.size != image.size or upright.tobytes() != image.tobytes():
                    notes.append("turned as its EXIF orientation says")
                return _numbers(upright, path)
        except ImageError:
            raise
        except module.UnidentifiedImageError:
            raise ImageError(f"{path} is not a PNG or JPEG image") from None
        except (module.DecompressionBombError, module.DecompressionBombWarning):
            raise ImageError(
                f"{path} has more than {module.MAX_IMAGE_PIXELS:,} pixels: make it smaller first"
            ) from None
        except _DAMAGE as error:
            raise ImageError(f"{path} is damaged or truncated: {error}") from None


def _numbers(image: Any, path: Path) -> Tensor:
    """Pixels of a loaded image of Pillow, ``[1 or 3, H, W]`` in [0, 1]."""
    if image.mode in _GREY_16 and image.format in (None, "PNG"):
        values = np.asarray(image)
        _refuse_transparent(bool((values == image.info.get("transparency")).any()), path)
        return torch.from_numpy(values.astype(np.float32) / 65535).unsqueeze(0)
    if image.mode in _HAVE_ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        _refuse_transparent(image.getchannel("A").getextrema() != (255, 255), path)
        image = image.convert("RGB")
    elif image.mode == "P":
        image = image.convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    if image.mode not in ("L", "RGB"):
        raise ImageError(f"{path} has pixels of the kind {image.mode}: save it as RGB or grey first")
    pixels = torch.from_numpy(np.array(image, dtype=np.float32) / 255)
    return pixels.unsqueeze(0) if pixels.dim() == 2 else pixels.permute(2, 0, 1)


def _refuse_transparent(transparent: bool, path: Path) -> None:
    if transparent:
        raise ImageError(f"{path} has transparent pixels: put it on a background first")


def _on_light(pixels: Tensor) -> bool:
    """Whether the ground is light, by the rim of the image, and there is something darker on it."""
    rim = torch.cat([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], dim=1)
    ground = rim.quantile(0.25)
    return bool(ground > 0.6 and pixels.min() < ground - 0.25)


def _with_channels(pixels: Tensor, channels: int, path: Path, notes: list[str]) -> Tensor:
    if len(pixels) == channels:
        return pixels
    if channels == 3:
        notes.append("grey given to a network for colours")
        return pixels.expand(3, -1, -1)
    if channels != 1:
        raise ImageError(f"{path} cannot be given to a network of {channels} channels, only of 1 or 3")
    if torch.equal(pixels[0], pixels[1]) and torch.equal(pixels[0], pixels[2]):
        return pixels[:1]
    notes.append("colours turned into grey")
    return (pixels * torch.tensor(_LUMA).view(3, 1, 1)).sum(dim=0, keepdim=True)


def _resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """The largest middle part of the proportions of the result, resized."""
    rows, columns = pixels.shape[1:]
    inner_rows = max(1, min(rows, round(columns * height / width)))
    inner_columns = max(1, min(columns, round(rows * width / height)))
    top, left = (rows - inner_rows) // 2, (columns - inner_columns) // 2
    part = pixels[None, :, top : top + inner_rows, left : left + inner_columns]
    resized = torch.nn.functional.interpolate(part, (height, width), mode="bilinear", antialias=True)
    return resized[0].clamp(0, 1)
