"""MNIST, and the data sets that come in its form: 28x28 pixels, ten classes, four IDX files of the same names."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from capsroute.training.datasets.fetch import fetch, user_cache
from capsroute.training.datasets.idx import read_idx
from capsroute.training.datasets.imageset import Dataset, ImageSet
from capsroute.training.datasets.known import FASHION_MNIST, KMNIST, MNIST, QMNIST, IdxFiles, facts_of
from capsroute.training.datasets.locate import absent, fetched_into, idx_files
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, optional_path

__all__ = ["load_fashion_mnist", "load_kmnist", "load_mnist", "load_qmnist", "read_labelled"]

_SIDE = 28
_CLASSES = 10
_NAMES = "train-images, train-labels, t10k-images and t10k-labels, each with -idx3-ubyte or -idx1-ubyte"


def load_mnist(data_dir: AnyPath | None = None) -> Dataset:
    """Loads MNIST from a folder, or fetches it into one that is empty.

    Args:
        data_dir: Folder with the four IDX files, plain or gzipped, in it or in a folder MNIST/raw, each in a folder of
            its own or not. None for the user's cache.

    Returns:
        The images. What they are called follows from the checksums of the files: other images under MNIST's names are
        those of another data set, or are called as their folder is.

    Raises:
        TrainingError: A file is absent and cannot be fetched, or one is truncated, foreign or does not fit the others.
    """
    return _load(MNIST, "mnist", {"mnist"}, data_dir)


def load_fashion_mnist(data_dir: AnyPath | None = None) -> Dataset:
    """Loads Fashion-MNIST, as :func:`load_mnist` does MNIST; torchvision's folder is FashionMNIST/raw."""
    return _load(FASHION_MNIST, "fashion-mnist", {"fashionmnist", "fashion"}, data_dir)


def load_kmnist(data_dir: AnyPath | None = None) -> Dataset:
    """Loads Kuzushiji-MNIST, as :func:`load_mnist` does MNIST; torchvision's folder is KMNIST/raw."""
    return _load(KMNIST, "kmnist", {"kmnist", "kuzushijimnist", "kuzushiji"}, data_dir)


def load_qmnist(data_dir: AnyPath | None = None) -> Dataset:
    """Loads QMNIST, as :func:`load_mnist` does MNIST; the class is the first of the eight numbers of its labels."""
    return _load(QMNIST, "qmnist", {"qmnist"}, data_dir)


def _load(known: IdxFiles, dataset: str, names: set[str], data_dir: AnyPath | None) -> Dataset:
    data_dir = optional_path("data_dir", data_dir)
    folder = user_cache(dataset) if data_dir is None else data_dir
    wanted = f"{known.facts.title} is wanted as {_NAMES}, plain or gzipped; put them into a folder and name it with "
    wanted += "--data-dir"
    files = idx_files(folder, names) or fetched_into(
        folder, known.md5s, known.mirrors, wanted, fetch, own=data_dir is None
    )
    if files is None:
        raise absent(folder, wanted)
    arrays = [read_idx(path) for path in files]
    train, test = (read_labelled(files[n : n + 2], arrays[n : n + 2], range(_CLASSES)) for n in (0, 2))
    return Dataset(train, test, facts_of(files, arrays))


def read_labelled(files: list[Path], arrays: list[Tensor], labels: range) -> ImageSet:
    """Images and labels that belong together.

    Args:
        files: Of images and of labels, for the messages.
        arrays: What they hold.
        labels: Which ones there may be; the first of them becomes 0.

    Raises:
        TrainingError: They are no images of 28x28 bytes with a label each, or a label is out of its range.
    """
    (image_file, label_file), (images, classes) = files, arrays
    if images.dim() != 3 or images.dtype != torch.uint8:
        raise TrainingError(f"{image_file} holds {_said(images)}, not images [N, {_SIDE}, {_SIDE}] of uint8")
    if images.shape[1:] != (_SIDE, _SIDE):
        raise TrainingError(f"{image_file} holds images of {list(images.shape[1:])} pixels, not of {[_SIDE, _SIDE]}")
    if classes.dim() == 2 and classes.dtype == torch.int32:  # QMNIST's: the class, and where the digit comes from
        classes = classes[:, :1].flatten()
    if classes.dim() != 1 or classes.is_floating_point():
        raise TrainingError(f"{label_file} holds {_said(classes)}, not labels [N] of whole numbers")
    if len(images) != len(classes):
        raise TrainingError(f"{image_file} holds {len(images):,} images, but {label_file} {len(classes):,} labels")
    if len(classes) == 0:
        raise TrainingError(f"{label_file} holds no labels")
    low, high = int(classes.min()), int(classes.max())
    if high > labels[-1]:
        raise TrainingError(f"{label_file} holds the label {high}, above {labels[-1]}")
    if low < labels[0]:
        raise TrainingError(f"{label_file} holds the label {low}, below {labels[0]}")
    return ImageSet(images.unsqueeze(1), classes.to(torch.int64) - labels[0])


def _said(values: Tensor) -> str:
    return f"an array {list(values.shape)} of {str(values.dtype).removeprefix('torch.')}"
