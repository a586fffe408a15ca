"""EMNIST: handwritten letters and digits in MNIST's form, which lie on their side in its files (Cohen et al. 2017)."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from torch import Tensor

from capsroute.training.datasets.facts import DatasetFacts
from capsroute.training.datasets.idx import read_idx
from capsroute.training.datasets.imageset import Dataset, ImageSet
from capsroute.training.datasets.known import facts_of, unknown
from capsroute.training.datasets.locate import IDX_ROLES, absent, files_below, idx_files, matching
from capsroute.training.datasets.matlab import read_matlab, whole_numbers
from capsroute.training.datasets.mnist import read_labelled
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, optional_path

__all__ = ["EMNIST_SPLITS", "load_emnist"]

_SIDE = 28
_PAGE = "https://www.nist.gov/itl/products-and-services/emnist-dataset"
_MERGED = string.digits + string.ascii_uppercase + "abdefghnqrt"  # a lower-case letter that looks like none in capitals


@dataclass(frozen=True)
class _Split:
    """One of the six ways in which the characters are divided.

    Args:
        classes: A character for each class.
        train: Training images.
        test: Test images.
        first: The least label in the files.
    """

    classes: str
    train: int
    test: int
    first: int = 0


EMNIST_SPLITS = {
    "byclass": _Split(string.digits + string.ascii_uppercase + string.ascii_lowercase, 697_932, 116_323),
    "bymerge": _Split(_MERGED, 697_932, 116_323),
    "balanced": _Split(_MERGED, 112_800, 18_800),
    "letters": _Split(string.ascii_uppercase, 124_800, 20_800, first=1),
    "digits": _Split(string.digits, 240_000, 40_000),
    "mnist": _Split(string.digits, 60_000, 10_000),
}
"""The six ways in which the characters are divided into classes and sets, by name."""


def load_emnist(split: str, data_dir: AnyPath | None = None) -> Dataset:
    """Loads a split of EMNIST from a folder, upright and with labels from 0.

    Nothing is fetched: the archive has 560 MB.

    Args:
        split: One of :data:`EMNIST_SPLITS`.
        data_dir: Folder with ``emnist-SPLIT-train-images-idx3-ubyte`` and its three companions, plain or gzipped, in it
            or in a folder EMNIST/raw or gzip; or with ``emnist-SPLIT.mat``.

    Returns:
        The images, each turned over its diagonal, as the files hold them transposed. No checksums of the files are
        published: they are EMNIST's where they have its names, its numbers of images and its labels.

    Raises:
        TrainingError: There is no folder, or it holds no such files; or one is truncated, foreign or does not fit the
            others, or is of another data set.
    """
    data_dir = optional_path("data_dir", data_dir)
    wanted = (
        f"EMNIST is wanted as emnist-{split}-train-images-idx3-ubyte and its -train-labels-idx1-, -test-images-idx3- "
        f"and -test-labels-idx1-ubyte, plain or gzipped, or as emnist-{split}.mat, from {_PAGE}"
    )
    if data_dir is None:
        raise TrainingError(f"dataset emnist-{split} needs --data-dir: {wanted}")
    form = EMNIST_SPLITS[split]
    labels = range(form.first, form.first + len(form.classes))
    files = idx_files(data_dir, {f"emnist{split}"})
    archives = matching(files_below(data_dir), rf"(emnist[-_. ]?{split})\.mat")
    if files is not None:
        arrays = [read_idx(path) for path in files]
    elif archives:
        path = next(iter(archives.values()))[0]
        files, arrays = [path] * len(IDX_ROLES), _read_matlab(path, labels)
    else:
        raise absent(data_dir, wanted)
    train, test = (_upright(read_labelled(files[n : n + 2], arrays[n : n + 2], labels)) for n in (0, 2))
    if files[0] != files[1]:  # IDX files, of which other data sets publish checksums
        known = facts_of(files, arrays)
        if known.name:
            raise TrainingError(
                f"{files[0]} is a file of {known.title}, not of EMNIST: --dataset {known.name} reads it"
            )
    is_it = (len(train), len(test)) == (form.train, form.test)
    return Dataset(train, test, _facts(split) if is_it else unknown(files[0], tuple(form.classes)))


def _upright(images: ImageSet) -> ImageSet:
    return ImageSet(images.images.mT.contiguous(), images.labels)


def _read_matlab(path: Path, labels: range) -> list[Tensor]:
    """Arrays as the IDX files have them: MATLAB's go by columns, so that the same pixels come in the same order."""
    names = [f"dataset.{part}.{kind}" for part, kind in IDX_ROLES]
    found = read_matlab(path, names)
    if lacking := [name for name in names if name not in found]:
        raise TrainingError(f"{path} holds no {', '.join(lacking)}: it is not a file of EMNIST")
    arrays = []
    for name in names:
        values = found[name]
        if name.endswith("images"):
            if values.ndim != 2 or values.shape[1] != _SIDE**2 or values.dtype != numpy.uint8:
                raise TrainingError(
                    f"{path}: {name} is an array {list(values.shape)} of {values.dtype}, not [N, {_SIDE**2}] of uint8"
                )
            arrays.append(torch.from_numpy(values.copy("C")).reshape(-1, _SIDE, _SIDE))
        else:
            arrays.append(whole_numbers(values, f"{path}: {name}", labels))
    return arrays


def _facts(split: str) -> DatasetFacts:
    return DatasetFacts(
        name=f"emnist-{split}",
        title=f"EMNIST, {split}",
        description=(
            "Handwritten characters of 28x28 pixels, light on dark, made from NIST's Special Database 19 as MNIST's "
            "digits were; in the files they are transposed, here they are upright"
        ),
        origin=f"G. Cohen, S. Afshar, J. Tapson and A. van Schaik, 2017, arXiv:1702.05373, {_PAGE}",
        licence="its authors named none",
        classes=tuple(EMNIST_SPLITS[split].classes),
    )
