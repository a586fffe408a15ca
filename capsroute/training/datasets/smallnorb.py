"""smallNORB: five kinds of toys in stereo, from known elevations and azimuths (LeCun, Huang and Bottou 2004)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from capsroute.training.datasets.facts import DatasetFacts
from capsroute.training.datasets.imageset import Dataset, ImageSet
from capsroute.training.datasets.known import unknown
from capsroute.training.datasets.locate import absent, files_below, matching
from capsroute.training.datasets.norb_matrix import read_norb_matrix
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, optional_path

__all__ = ["SMALLNORB_SIDE", "StereoViews", "centre_crop", "load_smallnorb", "read_smallnorb", "smallnorb_facts"]

SMALLNORB_SIDE = 48
"""Height and width in pixels, half of those in the files, as the papers on capsules have them."""
_PAGE = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/"
_NAME = r".*(train|test)(?:ing)?[-_.](dat|cat|info)\.mat(?:\.gz)?"
_KINDS = ("dat", "cat", "info")
_CLASSES = ("animal", "human", "airplane", "truck", "car")
_MOST = (9, 8, 34, 5)  # of instance, elevation, azimuth and light
_PAIRS = 24_300
_INSTANCES = {"train": {4, 6, 7, 8, 9}, "test": {0, 1, 2, 3, 5}}
_CHUNK = 500  # pairs that are halved at once


@dataclass(frozen=True)
class StereoViews:
    """Pairs of images, and from where they were taken.

    Args:
        images: ``[N, 2, 48, 48]``, uint8: what the left and the right camera saw.
        labels: ``[N]``, int64: animal, human, airplane, truck or car.
        instance: ``[N]``, int64: which of the ten toys of its kind.
        elevation: ``[N]``, int64: 0 to 8, for 30 to 70 degrees in steps of 5.
        azimuth: ``[N]``, int64: 0, 2, …, 34, for 0 to 340 degrees in steps of 20.
        light: ``[N]``, int64: 0 to 5.
    """

    images: Tensor
    labels: Tensor
    instance: Tensor
    elevation: Tensor
    azimuth: Tensor
    light: Tensor

    def pairs(self) -> ImageSet:
        """An image of two channels for each pair."""
        return ImageSet(self.images, self.labels)

    def singles(self) -> ImageSet:
        """Two images of one channel for each pair, left and right, one after the other."""
        return ImageSet(self.images.reshape(-1, 1, *self.images.shape[2:]), self.labels.repeat_interleave(2))


def load_smallnorb(data_dir: AnyPath | None = None, *, stereo: str = "channels") -> Dataset:
    """Loads smallNORB from a folder, at half its size. Nothing is fetched.

    Args:
        data_dir: Folder with the six files ``smallnorb-5x…-training-dat.mat`` to ``-testing-info.mat``, plain or
            gzipped, in it or in folders in it.
        stereo: ``"channels"`` for pairs as images of two channels, ``"images"`` for two images of one channel each.

    Returns:
        The images. They are called smallNORB where the numbers of pairs and the toys of both sets are those of it.

    Raises:
        TrainingError: There is no folder, or it holds no such files; or one is truncated, foreign or does not fit the
            others.
        ValueError: ``stereo`` is neither of the two.
    """
    data_dir = optional_path("data_dir", data_dir)
    if stereo not in ("channels", "images"):
        raise ValueError(f'stereo must be "channels" or "images", got {stereo!r}')
    train, test = read_smallnorb(data_dir)
    parts = [part.pairs() if stereo == "channels" else part.singles() for part in (train, test)]
    assert data_dir is not None
    return Dataset(parts[0], parts[1], smallnorb_facts(train, test, data_dir))


def read_smallnorb(data_dir: AnyPath | None) -> tuple[StereoViews, StereoViews]:
    """Training and test pairs, as :func:`load_smallnorb` finds them, with their viewpoints.

    Raises:
        TrainingError: As there.
    """
    data_dir = optional_path("data_dir", data_dir)
    wanted = (
        f"smallNORB is wanted as six files that end in -training-dat.mat, -training-cat.mat, -training-info.mat and in "
        f"the same with testing, plain or gzipped, from {_PAGE}"
    )
    if data_dir is None:
        raise TrainingError(f"dataset smallnorb needs --data-dir: {wanted}")
    lying = matching(files_below(data_dir), _NAME)
    if not all((part, kind) in lying for part in _INSTANCES for kind in _KINDS):
        raise absent(data_dir, wanted)
    # Of a plain file and a gzipped one, the plain one: its name is the shorter.
    train, test = ([min(lying[part, kind], key=_by_length) for kind in _KINDS] for part in _INSTANCES)
    return _views(*train), _views(*test)


def _by_length(path: Path) -> tuple[int, str]:
    return len(path.name), str(path)


def _views(dat: Path, cat: Path, info: Path) -> StereoViews:
    labels, known = (_whole(read_norb_matrix(path, dims), path) for path, dims in ((cat, 1), (info, 2)))
    pairs = read_norb_matrix(dat, 4)
    side = 2 * SMALLNORB_SIDE
    if pairs.dtype != torch.uint8 or list(pairs.shape[1:]) != [2, side, side] or len(pairs) == 0:
        shape, kind = list(pairs.shape), str(pairs.dtype).removeprefix("torch.")
        raise TrainingError(f"{dat} holds an array {shape} of {kind}, not pairs [N, 2, {side}, {side}] of uint8")
    if len(labels) != len(pairs):
        raise TrainingError(f"{dat} holds {len(pairs):,} pairs, but {cat} {len(labels):,} categories")
    if known.shape != (len(pairs), len(_MOST)):
        raise TrainingError(f"{info} holds an array {list(known.shape)}, not [{len(pairs)}, {len(_MOST)}]")
    for path, values, most in ((cat, labels, len(_CLASSES) - 1), *zip([info] * 4, known.T, _MOST, strict=True)):
        if wrong := [value for value in values.unique().tolist() if not 0 <= value <= most]:
            raise TrainingError(f"{path} holds the value {wrong[0]} where 0 to {most} are expected")
    return StereoViews(_halved(pairs), labels, *known.T.contiguous())


def _whole(values: Tensor, path: Path) -> Tensor:
    if values.is_floating_point():
        raise TrainingError(f"{path} holds numbers of {str(values.dtype).removeprefix('torch.')}, not whole ones")
    return values.to(torch.int64)


def _halved(images: Tensor) -> Tensor:
    """Means over 2x2 pixels, rounded; uint8."""
    count, channels, height, width = images.shape
    halved = torch.empty(count, channels, height // 2, width // 2, dtype=torch.uint8)
    for start in range(0, count, _CHUNK):
        blocks = images[start : start + _CHUNK].to(torch.int16).unfold(2, 2, 2).unfold(3, 2, 2)
        halved[start : start + _CHUNK] = (blocks.sum((-2, -1)) + 2) // 4
    return halved


def centre_crop(images: Tensor, side: int) -> Tensor:
    """The middle of images ``[..., H, W]``: ``[..., side, side]``, a view."""
    top, left = ((size - side) // 2 for size in images.shape[-2:])
    return images[..., top : top + side, left : left + side]


def smallnorb_facts(train: StereoViews, test: StereoViews, folder: Path) -> DatasetFacts:
    """What is known of the pairs in a folder; that they are smallNORB's, by their numbers and their toys."""
    is_it = all(
        len(part.labels) == _PAIRS and set(part.instance.unique().tolist()) == _INSTANCES[name]
        for name, part in (("train", train), ("test", test))
    )
    return _FACTS if is_it else unknown(folder / "file", classes=_CLASSES)


_FACTS = DatasetFacts(
    name="smallnorb",
    title="smallNORB",
    description=(
        "Grey photographs of toys by two cameras, 96x96 pixels that are halved to 48x48 here; 9 elevations, 18 "
        "azimuths and 6 lights of ten toys of each kind, five to train on and five to test on"
    ),
    origin=f"Y. LeCun, F. J. Huang and L. Bottou, 2004, {_PAGE}",
    licence="for research only, by its page",
    classes=_CLASSES,
)
