"""CIFAR-10: 50,000 colour photographs of 32x32 pixels to train on, 10,000 to test on (Krizhevsky 2009)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from capsroute.training.datasets.cifar10_archive import CIFAR10_BATCHES, read_cifar10_archive, read_cifar10_folder
from capsroute.training.datasets.division import mixed
from capsroute.training.datasets.facts import DatasetFacts
from capsroute.training.datasets.fetch import fetch, user_cache
from capsroute.training.datasets.image_folders import read_image_folders
from capsroute.training.datasets.imageset import Dataset, ImageSet
from capsroute.training.datasets.known import unknown
from capsroute.training.datasets.locate import absent, fetched_into, file_digest, files_below, matching
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path, optional_path

__all__ = ["CIFAR10_CLASSES", "load_cifar10"]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_ARCHIVE = "cifar-10-python.tar.gz"
_MD5 = "c58f30108f718f92721af3b95e74349a"
# Of the unpacked batches, in their order.
_BATCH_MD5 = (
    "c99cafc152244af753f735de768cd75f",
    "d4bba439e000b95fd0a9bffe97cbabec",
    "54ebc095f3ab1f0389bbae665268c751",
    "634d18415352ddfa80567beed471001a",
    "482c414d41f54cd18b22e5b47cb7c3cb",
    "40351d587109b95175f43aff81a1287e",
)
_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
_SHAPE = (3, 32, 32)
_PER_CLASS = (5_000, 1_000)
_FACTS = DatasetFacts(
    name="cifar10",
    title="CIFAR-10",
    description="Photographs of animals and vehicles in colour, 32x32 pixels",
    origin="A. Krizhevsky, 2009, from the 80 Million Tiny Images, https://www.cs.toronto.edu/~kriz/cifar.html",
    licence="its author named none",
    classes=CIFAR10_CLASSES,
)


def load_cifar10(data_dir: AnyPath | None = None) -> Dataset:
    """Loads CIFAR-10 from a folder, or fetches it into one that is empty.

    Args:
        data_dir: Folder with ``cifar-10-python.tar.gz`` or ``cifar-10-binary.tar.gz``, or with the batches of either,
            unpacked; or with ``train.zip`` and ``test.zip``, which hold JPEG or PNG images in one folder per class; in
            it or in a folder in it, the first of these that there is. None for the user's cache.

    Returns:
        The images; those of zip files in an order without a pattern, which is the same at any time, and called a copy,
        as they may be other pixels. Those of the python version are called CIFAR-10 where their checksums fit, those of
        the binary version where each class has its number of images.

    Raises:
        TrainingError: Nothing is there and nothing can be fetched, or a file is broken or foreign.
    """
    data_dir = optional_path("data_dir", data_dir)
    data_dir = None if data_dir is None else as_path("data_dir", data_dir)
    folder = user_cache("cifar10") if data_dir is None else data_dir
    files = files_below(folder)
    archives = matching(files, r"cifar-10-(python|binary)\.tar\.gz")
    batches = matching(files, r"(data_batch_1|test_batch)(\.bin)?")
    zips = matching(files, r"(train|test)\.zip")
    for version in ("python", "binary"):
        ending = "" if version == "python" else ".bin"
        if (version,) in archives:
            path = archives[version,][0]
            return _called(*read_cifar10_archive(path), path, file_digest(path) == _MD5 if not ending else None)
        if ("data_batch_1", ending) in batches:
            path = batches["data_batch_1", ending][0]
            train, test = read_cifar10_folder(path.parent, ending)
            digests = () if ending else tuple(file_digest(path.parent / name) for name in CIFAR10_BATCHES)
            return _called(train, test, path, digests == _BATCH_MD5 if not ending else None)
    if zips:
        place = next(iter(zips.values()))[0].parent
        return _read_zips(*(zips.get((part,), [place / f"{part}.zip"])[0] for part in ("train", "test")))
    wanted = (
        "CIFAR-10 is wanted as cifar-10-python.tar.gz, cifar-10-binary.tar.gz, either of them unpacked, or train.zip "
        "and test.zip with a folder of images per class; put it into a folder and name it with --data-dir"
    )
    fetched = fetched_into(folder, {_ARCHIVE: _MD5}, _MIRRORS, wanted, fetch, own=data_dir is None)
    if fetched is None:
        raise absent(folder, wanted)
    return _called(*read_cifar10_archive(fetched[0]), fetched[0], True)


def _called(train: ImageSet, test: ImageSet, path: Path, is_it: bool | None) -> Dataset:
    """The images with their facts; where no checksum says whether they are CIFAR-10, their numbers do."""
    if is_it is None:
        counts = [
            torch.bincount(part.labels, minlength=len(CIFAR10_CLASSES)).unique().tolist() for part in (train, test)
        ]
        is_it = counts == [[count] for count in _PER_CLASS]
    return Dataset(train, test, _FACTS if is_it else unknown(path, CIFAR10_CLASSES))


def _read_zips(train_zip: Path, test_zip: Path) -> Dataset:
    train, test = (read_image_folders(path, _SHAPE) for path in (train_zip, test_zip))
    for path, part in ((train_zip, train), (test_zip, test)):
        if part.classes != CIFAR10_CLASSES:
            raise TrainingError(f"{path} {_difference(set(part.classes), set(CIFAR10_CLASSES))}")
    formats = " and ".join(sorted({*train.formats, *test.formats}))
    facts = replace(_FACTS, title=f"CIFAR-10, {formats} copy")
    return Dataset(mixed(train.images), mixed(test.images), facts)


def _difference(found: set[str], wanted: set[str]) -> str:
    """What a file lacks, and what it has that is none of CIFAR-10; at least one of the two."""
    lacking, foreign = (", ".join(sorted(names)) for names in (wanted - found, found - wanted))
    parts = [f"lacks classes of CIFAR-10: {lacking}"] if lacking else []
    parts += [f"has other classes than CIFAR-10: {foreign}"] if foreign else []
    return "; it ".join(parts)
