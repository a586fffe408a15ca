"""A folder of one's own images, a folder per class."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TypeVar

import torch
from torch import Tensor

from capsroute.training.datasets.division import SEED, SHARE, held_out_places, mixed
from capsroute.training.datasets.findings import Findings, described, some
from capsroute.training.datasets.imageset import Dataset, ImageSet
from capsroute.training.datasets.layout import Classes, Layout, find_classes
from capsroute.training.datasets.pictures import Header, PictureError, look, prepared
from capsroute.training.datasets.reading import ReadOptions
from capsroute.training.datasets.trees import File, opened_tree, printable
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, optional_path

__all__ = ["load_folder"]

_LARGEST_SIDE = 64  # that is chosen; a user may ask for more

T = TypeVar("T")


def load_folder(data_dir: AnyPath | None, options: ReadOptions) -> Dataset:
    """Reads a folder per class, or ``train/`` and ``test/`` (or ``val/``) of them, or a zip file of either.

    The classes are the names of the folders, sorted. Files of an operating system (names that begin with a dot,
    ``__MACOSX``, ``Thumbs.db``) are ignored; all other files that are no pictures, or damaged, are counted, named in
    the notes and listed in the record. A picture that comes again in its class is read once, or the copies that are
    held out would be known from the training.

    Args:
        data_dir: The folder or the zip file.
        options: ``image_size`` is by default the median of the shorter sides, 64 at most, and ``channels`` 3 where any
            picture has colours. ``test_share`` (0.2) of each class, drawn by ``test_seed`` (0), is held out where there
            are no test images.

    Raises:
        TrainingError: There are not two classes with pictures, or what was asked for does not fit; or Pillow is not
            installed.
    """
    data_dir = optional_path("data_dir", data_dir)
    if data_dir is None:
        raise TrainingError(
            "dataset folder needs --data-dir: a folder per class, or train/ and test/ of them, or a zip file of either"
        )
    with opened_tree(data_dir) as tree:
        layout = find_classes(tree)
        if layout.test is not None and (options.test_share is not None or options.test_seed is not None):
            raise TrainingError(f"test_share and test_seed have no effect: {tree.path} has test images of its own")
        findings = Findings()
        headers = _headers(layout, findings)
        if not headers:
            raise TrainingError(f"{tree.path} holds no picture that can be read: {some(_reasons(findings.left_out))}")
        side = options.image_size or _chosen_side(headers)
        channels = options.channels or (3 if any(header.colour for header in headers) else 1)
        names = tuple(layout.train)
        train = _read(layout.train, names, "training", side, channels, findings)
        if layout.test is None:
            train, test = _divided(train, names, options)
        else:
            test = mixed(_read(layout.test, names, "test", side, channels, findings))
    title = printable(data_dir.resolve().stem if data_dir.is_file() else data_dir.resolve().name) or "images"
    return described(train, test, names, title, layout, headers, findings)


def _headers(layout: Layout, findings: Findings) -> list[Header]:
    """Of all pictures."""
    files = (file for part in (layout.train, layout.test or {}) for files in part.values() for file in files)
    headers = (_tried(file, look, findings) for file in files)
    return [header for header in headers if header is not None]


def _tried(file: File, read: Callable[[IO[bytes]], T], findings: Findings) -> T | None:
    """What is read from a file, or None where it is left out."""
    if file.path in findings.left_out:
        return None
    try:
        with file.open() as contents:
            return read(contents)
    except (OSError, PictureError) as error:
        findings.left_out[file.path] = getattr(error, "strerror", None) or str(error)
        return None


def _chosen_side(headers: Sequence[Header]) -> int:
    shorter = sorted(min(header.width, header.height) for header in headers)
    return min(shorter[len(shorter) // 2], _LARGEST_SIDE)


def _read(classes: Classes, names: Sequence[str], part: str, side: int, channels: int, findings: Findings) -> ImageSet:
    """The pictures of a part; a label is the place of a class among the names."""
    pixels = torch.empty(sum(map(len, classes.values())), channels, side, side, dtype=torch.uint8)
    labels: list[int] = []
    for name, files in classes.items():
        before = len(labels)
        for file in files:
            picture = _tried(file, lambda contents: prepared(contents, side, channels), findings)
            if picture is not None and not _comes_again(picture, part, name, file, findings):
                pixels[len(labels)] = picture
                labels.append(names.index(name))
        if len(labels) == before:
            unread = {file.path: findings.left_out[file.path] for file in files}
            raise TrainingError(f"the class {name} has no {part} picture that can be read: {some(_reasons(unread))}")
    return ImageSet(pixels[: len(labels)].clone(), torch.tensor(labels))


def _reasons(left_out: Mapping[str, str]) -> list[str]:
    return [f"{path} ({reason})" for path, reason in left_out.items()]


def _comes_again(picture: Tensor, part: str, name: str, file: File, findings: Findings) -> bool:
    """Whether a picture of the same class and part has the same pixels; the first one is of both."""
    digest = hashlib.blake2b(picture.numpy().data, digest_size=16).digest()
    first = findings.seen.setdefault(digest, (part, name, file.path))
    if first[2] == file.path:
        return False
    if first[:2] == (part, name):
        findings.repeated[file.path] = first[2]
        return True
    findings.shared[file.path] = first[2]
    return False


def _divided(images: ImageSet, names: Sequence[str], options: ReadOptions) -> tuple[ImageSet, ImageSet]:
    counts = torch.bincount(images.labels, minlength=len(names)).tolist()
    for name, count in zip(names, counts, strict=True):
        if count < 2:
            raise TrainingError(
                f"the class {name} has one picture, where one to train on and one to test on are the least"
            )
    share = SHARE if options.test_share is None else options.test_share
    kept, held = held_out_places(images.labels, share, SEED if options.test_seed is None else options.test_seed)
    return images[kept], images[held]
