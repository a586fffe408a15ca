"""Zip files that hold JPEG or PNG images in one folder per class."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from capsroute import no_memory
from capsroute.training.datasets.imageset import ImageSet
from capsroute.training.errors import TrainingError
from capsroute.training.extras import require
from capsroute.training.paths import AnyPath, as_path

__all__ = ["ImageFolders", "read_image_folders"]

_SUFFIXES = (".jpg", ".jpeg", ".png")
_FORMATS = ("JPEG", "PNG")
_MODES = {1: "L", 3: "RGB"}
# Bytes of an image file; what claims to be larger is not unpacked.
_LARGEST = 2**24


@dataclass(frozen=True)
class ImageFolders:
    """What a zip file holds.

    Args:
        images: The images in the order of classes and names; label n is the class ``classes[n]``.
        classes: Names of the folders, sorted.
        formats: Formats of the files: ``"JPEG"``, ``"PNG"`` or both, sorted.
    """

    images: ImageSet
    classes: tuple[str, ...]
    formats: tuple[str, ...]


def read_image_folders(path: AnyPath, shape: tuple[int, int, int]) -> ImageFolders:
    """Reads ``CLASS/NAME.jpg`` (or ``.jpeg``, ``.png``) from a zip file; nothing is unpacked to the disk.

    Files and folders that begin with a dot, and what macOS adds under ``__MACOSX``, are left out.

    Args:
        path: The zip file.
        shape: Channels, height and width that every image must have; 1 channel is grey, 3 are red, green and blue.

    Raises:
        TrainingError: The file cannot be read, is damaged, holds an unsafe path, something other than images, or a
            class without images; or an image is broken, or of another size or mode; or pillow is not installed.
    """
    path = as_path("path", path)
    pillow = require("PIL.Image", "reading image files")
    try:
        with zipfile.ZipFile(path) as archive:
            classes = _classes(archive, path)
            decoded = [
                _decode(pillow, archive, member, path, shape) for members in classes.values() for member in members
            ]
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise TrainingError(f"{path} is not a zip file, or it is damaged: {error}") from error
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror or error}") from error
    labels = torch.repeat_interleave(torch.tensor([len(members) for members in classes.values()]))
    images = ImageSet(torch.stack([pixels for pixels, _ in decoded]), labels)
    return ImageFolders(images, tuple(classes), tuple(sorted({file_format for _, file_format in decoded})))


def _classes(archive: zipfile.ZipFile, path: Path) -> dict[str, list[zipfile.ZipInfo]]:
    """Image files of each class, both sorted by name."""
    found: dict[str, list[zipfile.ZipInfo]] = {}
    for member in archive.infolist():
        place = PurePosixPath(member.filename)
        if not place.parts or place.is_absolute() or ".." in place.parts or set(member.filename) & set("\\:"):
            raise TrainingError(f"{path} holds the unsafe path {member.filename!r}")
        if place.parts[0] == "__MACOSX" or any(part.startswith(".") for part in place.parts):
            continue
        if member.is_dir() and len(place.parts) == 1:
            found.setdefault(place.name, [])
        elif not member.is_dir() and len(place.parts) == 2 and place.suffix.lower() in _SUFFIXES:
            found.setdefault(place.parts[0], []).append(member)
        else:
            raise TrainingError(f"{path} holds {member.filename!r}, which is no image in the folder of a class")
    if not found:
        raise TrainingError(f"{path} holds no folder of a class")
    for name, members in found.items():
        if not members:
            raise TrainingError(f"{path} holds no image of the class {name}")
    return {name: sorted(found[name], key=lambda member: member.filename) for name in sorted(found)}


def _decode(
    pillow: Any, archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, shape: tuple[int, int, int]
) -> tuple[Tensor, str]:
    """Pixels ``[channels, H, W]``, uint8, and the format of the file."""
    channels, height, width = shape
    where = f"{path}: {member.filename}"
    if member.file_size > _LARGEST:
        raise TrainingError(f"{where} is larger than the {_LARGEST:,} bytes of an image file")
    contents = archive.read(member)
    try:
        # Size and mode stand in the header: a picture of the wrong ones is never decoded.
        with pillow.open(io.BytesIO(contents), formats=_FORMATS) as image:
            if image.size != (width, height) or image.mode != _MODES[channels]:
                raise TrainingError(
                    f"{where} is an image of {image.width}x{image.height} pixels in mode {image.mode}, "
                    f"not of {width}x{height} in mode {_MODES[channels]}"
                )
            pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
            return pixels.reshape(height, width, channels).permute(2, 0, 1), image.format
    except TrainingError:
        raise
    except Exception as error:  # a damaged image raises anything
        if sentence := no_memory.sentence_of(error):
            raise TrainingError(f"cannot read {where}: {sentence}") from error
        raise TrainingError(f"{where} is no JPEG or PNG image, or it is damaged") from error
