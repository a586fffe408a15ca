"""Data sets in MNIST's form: what is known of each, and the checksums of its files, by which it is known.

Their files have the same names, so that only their contents tell which is which.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from capsroute.training.datasets.facts import MNIST as MNIST_FACTS
from capsroute.training.datasets.facts import DatasetFacts
from capsroute.training.datasets.locate import called, file_digest
from capsroute.training.errors import TrainingError

__all__ = ["FASHION_MNIST", "KMNIST", "MNIST", "QMNIST", "IdxFiles", "facts_of", "unknown"]

_MNIST_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_NUMERALS = tuple("0123456789")


@dataclass(frozen=True)
class IdxFiles:
    """A data set whose four files are published with checksums.

    Args:
        facts: What is known of it.
        mirrors: What stands before the names in their addresses.
        packed: MD5 of each gzipped file as it is published: training images and labels, test images and labels.
        plain: MD5 of each file in it; ``""`` where it is not known, () where none is.
        names: Of the files.
    """

    facts: DatasetFacts
    mirrors: tuple[str, ...]
    packed: tuple[str, ...]
    plain: tuple[str, ...] = ()
    names: tuple[str, ...] = _MNIST_NAMES

    @property
    def md5s(self) -> dict[str, str]:
        """Of the published files, by name."""
        return dict(zip(self.names, self.packed, strict=True))

    def has(self, digests: Sequence[tuple[str, str]], first: int) -> bool:
        """Whether images and labels with these MD5s, of their files and of what is in them, are those at ``first``."""
        plain = self.plain or ("-",) * len(self.packed)
        images, labels = (
            packed == self.packed[first + n] or unpacked == plain[first + n]
            for n, (packed, unpacked) in enumerate(digests)
        )
        return labels and (images or not plain[first])


MNIST = IdxFiles(
    MNIST_FACTS,
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    packed=(
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    plain=(
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
)
FASHION_MNIST = IdxFiles(
    DatasetFacts(
        name="fashion-mnist",
        title="Fashion-MNIST",
        description="Photographs of clothes, shoes and bags of a shop, grey, light on dark, in 28x28 pixels",
        origin="H. Xiao, K. Rasul and R. Vollgraf, 2017, arXiv:1708.07747, https://github.com/zalandoresearch/fashion-mnist",
        licence="MIT, by its repository",
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
    ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    packed=(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    plain=(
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
)
KMNIST = IdxFiles(
    DatasetFacts(
        name="kmnist",
        title="Kuzushiji-MNIST",
        description="Ten characters of cursive Japanese from old books, light on dark, in 28x28 pixels",
        origin="T. Clanuwat et al., 2018, arXiv:1812.01718, https://github.com/rois-codh/kmnist",
        licence="CC BY-SA 4.0, by its repository",
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
    ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    packed=(
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
)
QMNIST = IdxFiles(
    DatasetFacts(
        name="qmnist",
        title="QMNIST",
        description=(
            "Handwritten digits of 28x28 pixels, light on dark: the images of MNIST made anew from those of NIST, and "
            "50,000 more to test on"
        ),
        origin="C. Yadav and L. Bottou, 2019, arXiv:1905.10498, https://github.com/facebookresearch/qmnist",
        licence="BSD 3-Clause, by its repository",
        classes=_NUMERALS,
    ),
    ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",),
    packed=(
        "ed72d4157d28c017586c42bc6afe6370",
        "0058f8dd561b90ffdd0f734c6a30e5e4",
        "1394631089c404de565df7b7aeaf9412",
        "5b5b05890a5e13444e108efe57b788aa",
    ),
    # The two of images were published by nobody; "" is for them.
    plain=("", "1d43300e7f41ddcbf7fd006cbe865af9", "", "5e00709fb0090091f3afc51d204ad83c"),
    names=(
        "qmnist-train-images-idx3-ubyte.gz",
        "qmnist-train-labels-idx2-int.gz",
        "qmnist-test-images-idx3-ubyte.gz",
        "qmnist-test-labels-idx2-int.gz",
    ),
)
_ALL = (MNIST, FASHION_MNIST, KMNIST, QMNIST)


def facts_of(files: Sequence[Path], arrays: Sequence[Tensor]) -> DatasetFacts:
    """What is known of files in MNIST's form: by their checksums, never by their names.

    Where the checksum of unpacked images was published by nobody, that of the labels beside them speaks for them.

    Args:
        files: Training images and labels, test images and labels.
        arrays: What they hold.

    Returns:
        The facts of the data set; those of unknown images where they are of none.

    Raises:
        TrainingError: The training images are those of one data set, and the test images of another.
    """
    digests = [(file_digest(path), idx_digest(values)) for path, values in zip(files, arrays, strict=True)]
    found = [next((known for known in _ALL if known.has(digests[n : n + 2], n)), None) for n in (0, 2)]
    if found[0] is found[1]:
        return unknown(files[0]) if found[0] is None else found[0].facts
    if None not in found:
        train, test = (known.facts.title for known in found if known is not None)
        raise TrainingError(
            f"{files[0]} holds the training images of {train}, but {files[2]} the test images of {test}: "
            f"name with --data-dir a folder with one data set"
        )
    return unknown(files[0])


def unknown(file: Path, classes: tuple[str, ...] = ()) -> DatasetFacts:
    """Of files that have the form of a data set and are none that is known: they are called as their folder is.

    The form may say which classes there are.
    """
    name = called(file)
    return DatasetFacts(
        title=name,
        description="Images that are not known: what the files hold is of no data set that capsroute knows",
        origin=f"not known; the files lay in a folder of the name {name}",
        licence="not known",
        classes=classes,
    )


def idx_digest(values: Tensor) -> str:
    """MD5 of the plain IDX file with these values, uint8 or int32, in hexadecimal digits."""
    code, dtype = (0x08, ">u1") if values.dtype == torch.uint8 else (0x0C, ">i4")
    header = struct.pack(f">4B{values.dim()}I", 0, 0, code, values.dim(), *values.shape)
    digest = hashlib.md5(header, usedforsecurity=False)
    digest.update(values.numpy().astype(dtype, copy=False).data)
    return digest.hexdigest()
