"""Labelled images in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from capsroute.training.datasets.checksum import checksum
from capsroute.training.datasets.facts import UNNAMED, DatasetFacts

__all__ = ["Dataset", "ImageSet", "Images", "images_checksum"]

_SAMPLED = 256  # images at both ends of a set that is not in memory


class Images(Protocol):
    """Labelled images that are in memory, or made when they are asked for."""

    def __len__(self) -> int: ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width in pixels."""

    def batch(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images ``[B, channels, H, W]``, float32 in [0, 1], and labels, their first axis B, at the given places.

        The same places give the same images at any time.
        """


@dataclass(frozen=True)
class ImageSet:
    """Images and their classes.

    Args:
        images: ``[N, channels, H, W]``, uint8: a quarter of the memory of float32, and nothing is lost.
        labels: Class numbers ``[N]``, int64; or presence ``[N, J]`` of 0 and 1, bool or uint8, for images with several
            labels or none.
        white: Value of a pixel that becomes 1.0.

    Raises:
        TypeError: The images or the labels are no tensor, or the images are not of uint8.
        ValueError: The images have other axes, or there are not as many labels.
    """

    images: Tensor
    labels: Tensor
    white: int = 255

    def __post_init__(self) -> None:
        for name, value in (("images", self.images), ("labels", self.labels)):
            if not isinstance(value, Tensor):
                kind = type(value).__name__
                raise TypeError(f"{name} must be a torch.Tensor, got {kind}: torch.as_tensor({name}) makes one")
        if self.images.dtype != torch.uint8:  # floats in [0, 1] would become black
            advice = "floats in [0, 1] become it by (255 * images).round().to(torch.uint8)"
            raise TypeError(f"images must be of torch.uint8, got {self.images.dtype}: {advice}")
        if self.images.dim() != 4:
            shape = list(self.images.shape)
            raise ValueError(f"images must be [N, channels, H, W], got {shape}: images.unsqueeze(1) makes grey ones so")
        if len(self.labels) != len(self.images):
            raise ValueError(f"labels must be one per image, {len(self.images)}, got {len(self.labels)}")

    def __len__(self) -> int:
        return self.images.shape[0]

    def __getitem__(self, places: Tensor | slice) -> ImageSet:
        """The images at some places."""
        return ImageSet(self.images[places], self.labels[places], self.white)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width in pixels."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def batch(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images ``[B, channels, H, W]``, float32 in [0, 1], and labels ``[B]`` or ``[B, J]`` at the given places."""
        return self.images[indices].to(torch.float32) / self.white, self.labels[indices]


@dataclass(frozen=True)
class Dataset:
    """A training set and the test set that is never trained on, and what is known of them.

    Args:
        train: Training images.
        test: Test images, of the same shape and classes.
        facts: What they show and where they come from.
        notes: What a user must be told of how they were read: sentences without a full stop, in the order in which they
            are printed.
        record: All that was noticed while they were read, as values of JSON; it is kept in the folder of a run.

    Raises:
        ValueError: The two are of different shapes.
    """

    train: Images
    test: Images
    facts: DatasetFacts = UNNAMED
    notes: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        train, test = self.train.image_shape, self.test.image_shape
        if train != test:
            raise ValueError(f"train has images of the shape {train}, but test of {test}: they must be alike")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width in pixels."""
        return self.train.image_shape

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, from the facts; else numbers up to the largest label of images in memory."""
        if self.facts.classes:
            return self.facts.classes
        labels = [part.labels for part in (self.train, self.test) if isinstance(part, ImageSet) and len(part)]
        if any(part.dim() > 1 for part in labels):  # presence [N, J]
            return tuple(map(str, range(labels[0].shape[1])))
        return tuple(map(str, range(1 + max((int(part.max()) for part in labels), default=-1))))

    @cached_property
    def checksum(self) -> str:
        """Of both parts; another one means other images, other labels, or another order."""
        return f"{self.train_checksum}{self.test_checksum}"

    @cached_property
    def train_checksum(self) -> str:
        """Of the training images and their labels."""
        return images_checksum(self.train)

    @cached_property
    def test_checksum(self) -> str:
        """Of the test images and their labels."""
        return images_checksum(self.test)


def images_checksum(images: Images) -> str:
    """Of every pixel and label of images in memory; of the first and last 256 of others, as making all takes long."""
    if isinstance(images, ImageSet):
        return checksum((images.images, images.labels, torch.tensor(images.white)))
    ends = (slice(0, _SAMPLED), slice(max(0, len(images) - _SAMPLED), len(images)))
    return checksum((torch.tensor(len(images)), *(tensor for part in ends for tensor in images.batch(part))))
