"""Shuffled batches that can stop after any of them and go on from there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from capsroute.training.datasets import Images
from capsroute.training.feeding.augmentation import draw_shifts, shifted
from capsroute.training.feeding.division import divided
from capsroute.training.feeding.loading import loaded, loaded_ahead

__all__ = ["Batch", "ShuffledBatches"]


class Batch(NamedTuple):
    """A part of a joint batch."""

    images: Tensor
    """``[B, channels, H, W]``, float32 in [0, 1]."""
    labels: Tensor
    """The first axis is B."""
    counted: int
    """Images that count: B, or 0 where the part is empty and one image stands in, so that the network has some."""
    joint: int
    """Images of the joint batch."""

    def split(self, parts: int) -> list[Batch]:
        """At most so many parts, none of them empty."""
        if self.counted <= 1 or parts == 1:
            return [self]
        slices = divided(self.counted, min(parts, self.counted))
        return [Batch(self.images[s], self.labels[s], s.stop - s.start, self.joint) for s in slices]


class _Draw(NamedTuple):
    """What makes a batch, before its images are fetched."""

    places: Tensor
    """Of the images in the data set."""
    shifts: Tensor | None
    counted: int
    joint: int
    state: Tensor
    """Of the generator, after the batch was drawn."""


class ShuffledBatches:
    """Endless source of epochs over an image set, each in a new order and with new shifts.

    Order and shifts come from a generator of its own, so that they depend on the seed alone. Its state, the current
    order and the position in it are the whole state: restored, the very next batch is the one that would have come.
    Several processes that each take another part of every batch have the same state.

    Args:
        data: Images to train on.
        batch_size: Images per joint batch; the last batch of an epoch may be smaller.
        shift: Largest random shift in pixels.
        seed: Of order and shifts.
        part: Which part of each joint batch is given.
        parts: Number of these parts.
        ahead: Whether a thread makes the next batch, in pinned memory where there is a GPU.
    """

    def __init__(
        self,
        data: Images,
        batch_size: int,
        shift: int,
        seed: int,
        *,
        part: int = 0,
        parts: int = 1,
        ahead: bool = False,
    ) -> None:
        self._data = data
        self._batch_size = batch_size
        self._shift = shift
        self._part = part
        self._parts = parts
        self._ahead = ahead
        self._generator = torch.Generator().manual_seed(seed)
        self._state = self._generator.get_state()  # after the last batch given; the generator may be ahead of it
        self._order: Tensor | None = None  # None between two epochs
        self.position = 0
        """Batches of the current epoch already given."""

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-len(self._data) // self._batch_size)

    def rest_of_epoch(self) -> Iterator[Batch]:
        """Batches of this epoch that are still to come."""
        self._generator.set_state(self._state)
        if self._order is None:
            self._order = torch.randperm(len(self._data), generator=self._generator)
            self._state = self._generator.get_state()
        for draw, batch in (loaded_ahead if self._ahead else loaded)(self._draws(self._order), self._load):
            self._state = draw.state
            self.position += 1
            yield batch

    def end_epoch(self) -> None:
        """Makes :meth:`rest_of_epoch` start a new epoch."""
        self._order = None
        self.position = 0

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"generator": self._state, "order": self._order, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`.

        Raises:
            ValueError: It is of another number of images, or says of none in which order they come.
        """
        order, position = state["order"], state["position"]
        if order is not None and len(order) != len(self._data):
            raise ValueError(f"it was trained on {len(order):,} images, not on {len(self._data):,}")
        if order is not None and sorted(order.tolist()) != list(range(len(self._data))):
            raise ValueError("the order of its images does not hold each of them once")
        if not isinstance(position, int) or position < 0:
            raise ValueError(f"it stands at no place in its epoch: {position}")
        self._generator.set_state(state["generator"])  # which refuses what is none
        self._state = state["generator"]
        self._order = order
        self.position = position

    def _draws(self, order: Tensor) -> Iterator[_Draw]:
        for joint_places in order.split(self._batch_size)[self.position :]:
            joint = len(joint_places)
            part = divided(joint, self._parts)[self._part]
            counted = part.stop - part.start
            if counted == 0:
                part = slice(0, 1)
            shifts = None
            if self._shift > 0:  # drawn for all parts, so that each image has the same shift whoever takes it
                shifts = draw_shifts(joint, self._shift, self._generator)[:, part]
            yield _Draw(joint_places[part], shifts, counted, joint, self._generator.get_state())

    def _load(self, draw: _Draw) -> Batch:
        images, labels = self._data.batch(draw.places)
        if draw.shifts is not None:
            images = shifted(images, draw.shifts, self._shift)
        if self._ahead and torch.cuda.is_available():
            images, labels = images.pin_memory(), labels.pin_memory()
        return Batch(images, labels, draw.counted, draw.joint)
