"""MNIST: 60,000 handwritten digits of 28x28 pixels to train on, 10,000 to test on (LeCun, Cortes and Burges)."""

from dataclasses import replace
from pathlib import Path

import torch

from capsroute.training.datasets.facts import MNIST, DatasetFacts
from capsroute.training.datasets.fetch import fetch, user_cache
from capsroute.training.datasets.idx import read_idx
from capsroute.training.datasets.imageset import Dataset, ImageSet
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path

__all__ = ["load_mnist"]

_MD5 = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_CHECKSUM = "0e159880783f8bf143870cd4b5ba8e720e04839664818f9dd1aa7d841fd5546d"  # of the images that are known as MNIST
_SIDE = 28
_CLASSES = 10


def load_mnist(data_dir: AnyPath | None = None) -> Dataset:
    """Loads MNIST from a folder and fetches into it what is absent.

    Args:
        data_dir: Folder with the four IDX files under their original names, each plain or with ``.gz``. None for the
            user's cache.

    Raises:
        TrainingError: A file is absent and cannot be fetched, or one is truncated, foreign or does not fit the others.
    """
    data_dir = None if data_dir is None else as_path("data_dir", data_dir)
    if data_dir is None:
        data_dir = user_cache("mnist")
    data = Dataset(_load_part(data_dir, "train"), _load_part(data_dir, "t10k"))
    return replace(data, facts=MNIST if data.checksum == _CHECKSUM else _of_unknown(data_dir))


def _of_unknown(folder: Path) -> DatasetFacts:
    """Other images under MNIST's names, as those of Fashion-MNIST come: they are called as their folder is."""
    return DatasetFacts(
        title=folder.resolve().name or str(folder),
        description="Read from files that have the names of MNIST's; they are not those of MNIST",
        origin=f"not known; the files lay in a folder of the name {folder.resolve().name}",
        licence="not known",
    )


def _load_part(folder: Path, part: str) -> ImageSet:
    image_file = _locate(folder, f"{part}-images-idx3-ubyte")
    label_file = _locate(folder, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(image_file, 3), read_idx(label_file, 1)
    if images.shape[1:] != (_SIDE, _SIDE):
        raise TrainingError(f"{image_file} holds images of {list(images.shape[1:])} pixels, not of {[_SIDE, _SIDE]}")
    if len(images) != len(labels):
        raise TrainingError(f"{image_file} holds {len(images):,} images, but {label_file} {len(labels):,} labels")
    if len(labels) == 0:
        raise TrainingError(f"{label_file} holds no labels")
    if int(labels.max()) >= _CLASSES:
        raise TrainingError(f"{label_file} holds the label {int(labels.max())}, above {_CLASSES - 1}")
    return ImageSet(images.unsqueeze(1), labels.to(torch.int64))


def _locate(folder: Path, name: str) -> Path:
    """Path of a file, plain or gzipped, fetched where there is neither."""
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    advice = "put the four IDX files of MNIST into a folder and name it with --data-dir"
    return fetch(folder, f"{name}.gz", _MD5[name], _MIRRORS, advice)
