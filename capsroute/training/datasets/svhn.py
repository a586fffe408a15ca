"""SVHN, cropped: digits of house numbers in 32x32 colour photographs (Netzer et al. 2011)."""

from __future__ import annotations

import numpy
import torch

from capsroute.training.datasets.facts import DatasetFacts
from capsroute.training.datasets.fetch import fetch, user_cache
from capsroute.training.datasets.imageset import Dataset, ImageSet
from capsroute.training.datasets.known import unknown
from capsroute.training.datasets.locate import absent, fetched_into, file_digest, files_below, matching
from capsroute.training.datasets.matlab import read_matlab, whole_numbers
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path, optional_path

__all__ = ["load_svhn", "read_svhn"]

_MIRRORS = ("http://ufldl.stanford.edu/housenumbers/",)
_MD5 = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}
_SHAPE = [32, 32, 3]
_FACTS = DatasetFacts(
    name="svhn",
    title="SVHN, cropped digits",
    description=(
        "Photographs of house numbers in colour, cut to 32x32 pixels around one digit, with parts of its neighbours"
    ),
    origin=(
        "Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu and A. Y. Ng, 2011, from Google Street View, "
        "http://ufldl.stanford.edu/housenumbers/"
    ),
    licence="for non-commercial use only, by its page",
    classes=tuple("0123456789"),
)


def load_svhn(data_dir: AnyPath | None = None) -> Dataset:
    """Loads SVHN from a folder, or fetches it into one that is empty; the 531,131 extra images are left out.

    Args:
        data_dir: Folder with ``train_32x32.mat`` and ``test_32x32.mat``, in it or in a folder in it. None for the
            user's cache.

    Returns:
        The images; the label 10 of the files, digit zero, is 0 here. They are called SVHN where both checksums fit.

    Raises:
        TrainingError: A file is absent and cannot be fetched, or is truncated or foreign.
    """
    data_dir = optional_path("data_dir", data_dir)
    folder = user_cache("svhn") if data_dir is None else data_dir
    wanted = "SVHN is wanted as train_32x32.mat and test_32x32.mat; put them into a folder and name it with --data-dir"
    lying = matching(files_below(folder), r"(train|test)_32x32\.mat")
    if len(lying) == len(_MD5):
        files = [lying[part,][0] for part in ("train", "test")]
    elif (fetched := fetched_into(folder, _MD5, _MIRRORS, wanted, fetch, own=data_dir is None)) is not None:
        files = fetched
    else:
        raise absent(folder, wanted)
    train, test = map(read_svhn, files)
    is_it = [file_digest(path) for path in files] == list(_MD5.values())
    return Dataset(train, test, _FACTS if is_it else unknown(files[0], _FACTS.classes))


def read_svhn(path: AnyPath) -> ImageSet:
    """A file of SVHN's form: ``X`` ``[32, 32, 3, N]``, uint8, and ``y`` ``[N, 1]`` from 1 to 10.

    Raises:
        TrainingError: It cannot be read, or has another form.
    """
    path = as_path("path", path)
    found = read_matlab(path, ("X", "y"))
    if lacking := [name for name in ("X", "y") if name not in found]:
        raise TrainingError(f"{path} holds no {' and no '.join(lacking)}: it is not a file of SVHN")
    pixels, labels = found["X"], whole_numbers(found["y"], f"{path}: y", range(1, 11))
    if pixels.ndim == len(_SHAPE):  # MATLAB leaves a last axis of one image out
        pixels = pixels[..., None]
    if pixels.dtype != numpy.uint8 or list(pixels.shape[:-1]) != _SHAPE:
        raise TrainingError(
            f"{path}: X is an array {list(pixels.shape)} of {pixels.dtype}, not [32, 32, 3, N] of uint8"
        )
    if pixels.shape[-1] != len(labels):
        raise TrainingError(f"{path} holds {pixels.shape[-1]:,} images, but {len(labels):,} labels")
    images = torch.from_numpy(pixels.transpose(3, 2, 0, 1).copy("C"))
    return ImageSet(images, labels % 10)
