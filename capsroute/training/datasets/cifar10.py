"""CIFAR-10: 50,000 colour photographs of 32x32 pixels to train on, 10,000 to test on (Krizhevsky 2009)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from capsroute.training.datasets.cifar10_archive import read_cifar10_archive
from capsroute.training.datasets.division import mixed
from capsroute.training.datasets.fetch import fetch, user_cache
from capsroute.training.datasets.image_folders import read_image_folders
from capsroute.training.datasets.imageset import ImageSet
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path

__all__ = ["CIFAR10_CLASSES", "Cifar10", "load_cifar10"]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_ARCHIVE = "cifar-10-python.tar.gz"
_ZIPS = ("train.zip", "test.zip")
_MD5 = "c58f30108f718f92721af3b95e74349a"
_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
_SHAPE = (3, 32, 32)


@dataclass(frozen=True)
class Cifar10:
    """CIFAR-10, or a copy of it.

    Args:
        train: Training images.
        test: Test images.
        title: What these images are to be called beside a figure: ``"CIFAR-10"``, or ``"CIFAR-10, JPEG copy"`` and the
            like, as images from zip files may be other pixels.
    """

    train: ImageSet
    test: ImageSet
    title: str


def load_cifar10(data_dir: AnyPath | None = None) -> Cifar10:
    """Loads CIFAR-10 from a folder, or fetches it into the folder.

    Args:
        data_dir: Folder with ``cifar-10-python.tar.gz``, the python version of the data set; or with ``train.zip`` and
            ``test.zip``, which hold JPEG or PNG images in one folder per class. None for the user's cache.

    Returns:
        The images; those of zip files in an order without a pattern, which is the same at any time.

    Raises:
        TrainingError: Nothing is there and nothing can be fetched, or a file is broken or foreign.
    """
    data_dir = None if data_dir is None else as_path("data_dir", data_dir)
    folder = user_cache("cifar10") if data_dir is None else data_dir
    archive, zips = folder / _ARCHIVE, [folder / name for name in _ZIPS]
    if not archive.is_file() and any(path.is_file() for path in zips):
        return _read_zips(*zips)
    if not archive.is_file():
        advice = f"put it, or {' and '.join(_ZIPS)} with a folder of images per class, into a folder and name it with "
        archive = fetch(folder, _ARCHIVE, _MD5, _MIRRORS, advice + "--data-dir")
    return Cifar10(*read_cifar10_archive(archive), "CIFAR-10")


def _read_zips(train_zip: Path, test_zip: Path) -> Cifar10:
    train, test = (read_image_folders(path, _SHAPE) for path in (train_zip, test_zip))
    for path, part in ((train_zip, train), (test_zip, test)):
        if part.classes != CIFAR10_CLASSES:
            raise TrainingError(f"{path} {_difference(set(part.classes), set(CIFAR10_CLASSES))}")
    formats = " and ".join(sorted({*train.formats, *test.formats}))
    return Cifar10(mixed(train.images), mixed(test.images), f"CIFAR-10, {formats} copy")


def _difference(found: set[str], wanted: set[str]) -> str:
    """What a file lacks, and what it has that is none of CIFAR-10; at least one of the two."""
    lacking, foreign = (", ".join(sorted(names)) for names in (wanted - found, found - wanted))
    parts = [f"lacks classes of CIFAR-10: {lacking}"] if lacking else []
    parts += [f"has other classes than CIFAR-10: {foreign}"] if foreign else []
    return "; it ".join(parts)
