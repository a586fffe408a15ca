"""affNIST: MNIST's digits under small affine maps, in 40x40 pixels (Tieleman 2013)."""

from __future__ import annotations

from pathlib import Path

import numpy
import torch

from capsroute.training.datasets.facts import DatasetFacts
from capsroute.training.datasets.imageset import Dataset, ImageSet
from capsroute.training.datasets.known import unknown
from capsroute.training.datasets.locate import absent, files_below, matching
from capsroute.training.datasets.matlab import read_matlab, whole_numbers
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path, optional_path

__all__ = ["AFFNIST", "AFFNIST_TEST_IMAGES", "load_affnist", "load_affnist_test", "read_affnist"]

_SIDE = 40
_CLASSES = 10
_PAGE = "https://www.cs.toronto.edu/~tijmen/affNIST/"
AFFNIST_TEST_IMAGES = 320_000
"""32 maps of each of the 10,000 test images of MNIST."""
AFFNIST = DatasetFacts(
    name="affnist",
    title="affNIST",
    description=(
        "Handwritten digits of MNIST, light on dark, each under random small affine maps, anywhere in 40x40 pixels: "
        "turned by up to 20 degrees, sheared by up to 0.2, scaled by 0.8 to 1.2 along either axis"
    ),
    origin=f"T. Tieleman, 2013, {_PAGE}; from MNIST, of Y. LeCun, C. Cortes and C. J. C. Burges",
    licence="its author named none",
    classes=tuple("0123456789"),
)
_TEST = r"(test)\.mat"
# The training images come in one file, in two, or in 32 parts of which any are enough.
_TRAIN = r"(training_and_validation|training|\d+)\.mat"


def load_affnist(data_dir: AnyPath | None = None) -> Dataset:
    """Loads affNIST from a folder. Nothing is fetched: the files have gigabytes.

    Args:
        data_dir: Folder with ``test.mat`` and ``training.mat``, ``training_and_validation.mat`` or any of the parts
            ``1.mat`` to ``32.mat`` of the latter, in it or in folders in it.

    Raises:
        TrainingError: There is no folder, or it holds no such files; or one is truncated or foreign.
    """
    data_dir = optional_path("data_dir", data_dir)
    test, test_file = _test_images(data_dir)
    assert data_dir is not None
    lying = matching(files_below(data_dir), _TRAIN)
    parts = sorted((name for (name,) in lying if name.isdigit()), key=int)
    chosen = next(([name] for name in ("training_and_validation", "training") if (name,) in lying), parts)
    if not chosen:
        raise absent(
            data_dir, f"training images of affNIST are wanted as training.mat or 1.mat to 32.mat, from {_PAGE}"
        )
    read = [read_affnist(_only(lying[name,], data_dir)) for name in chosen]
    images, labels = torch.cat([part.images for part in read]), torch.cat([part.labels for part in read])
    return Dataset(ImageSet(images, labels), test, _facts(test, test_file))


def load_affnist_test(data_dir: AnyPath | None = None) -> tuple[ImageSet, DatasetFacts]:
    """The test images alone, from ``test.mat`` in a folder or in folders in it, and what they are.

    Raises:
        TrainingError: There is no folder, or it holds no such file; or it is truncated or foreign.
    """
    data_dir = optional_path("data_dir", data_dir)
    test, file = _test_images(data_dir)
    return test, _facts(test, file)


def _test_images(data_dir: Path | None) -> tuple[ImageSet, Path]:
    wanted = f"affNIST is wanted as test.mat, from {_PAGE}"
    if data_dir is None:
        raise TrainingError(f"dataset affnist needs --data-dir: {wanted}")
    lying = matching(files_below(data_dir), _TEST)
    if not lying:
        raise absent(data_dir, wanted)
    file = _only(lying["test",], data_dir)
    return read_affnist(file), file


def _only(files: list[Path], folder: Path) -> Path:
    if len(files) > 1:
        listed = ", ".join(str(path.relative_to(folder)) for path in files)
        raise TrainingError(f"{folder} holds {listed}: name with --data-dir the folder of one of them")
    return files[0]


def _facts(test: ImageSet, file: Path) -> DatasetFacts:
    """No checksums are published: a file with affNIST's fields and its number of images is its."""
    return AFFNIST if len(test) == AFFNIST_TEST_IMAGES else unknown(file, AFFNIST.classes)


def read_affnist(path: AnyPath) -> ImageSet:
    """A file of affNIST's form: a struct ``affNISTdata``, in it ``image`` ``[1600, N]``, uint8, and ``label_int``.

    Raises:
        TrainingError: It cannot be read, or has another form.
    """
    path = as_path("path", path)
    fields = ("image", "label_int", "label_one_of_n")
    named = read_matlab(path, [f"affNISTdata.{field}" for field in fields])
    found = {name.removeprefix("affNISTdata."): values for name, values in named.items()}
    if "image" not in found or len(found) < 2:
        raise TrainingError(f"{path} holds no affNISTdata with image and label_int: it is not a file of affNIST")
    pixels = found["image"]
    if pixels.dtype != numpy.uint8 or pixels.ndim != 2 or pixels.shape[0] != _SIDE**2:
        shape = list(pixels.shape)
        raise TrainingError(f"{path}: image is an array {shape} of {pixels.dtype}, not [{_SIDE**2}, N] of uint8")
    if "label_int" in found:
        labels = whole_numbers(found["label_int"], f"{path}: label_int", range(_CLASSES))
    else:
        labels = _one_of_n(found["label_one_of_n"], f"{path}: label_one_of_n")
    if pixels.shape[1] != len(labels):
        raise TrainingError(f"{path} holds {pixels.shape[1]:,} images, but {len(labels):,} labels")
    # In the file one image follows the other, each by rows: what is a column in MATLAB is an image here.
    return ImageSet(torch.from_numpy(pixels.T).reshape(-1, 1, _SIDE, _SIDE), labels)


def _one_of_n(values: numpy.ndarray, where: str) -> torch.Tensor:
    if values.ndim != 2 or values.shape[0] != _CLASSES or not ((values == 1).sum(0) == 1).all():
        raise TrainingError(f"{where} is not [{_CLASSES}, N] with one 1 in each column")
    return torch.from_numpy((values == 1).argmax(0)).to(torch.int64)
