"""Shuffled batches that can stop after any of them and go on from there."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from capsroute.training.augmentation import random_shift
from capsroute.training.datasets import Images

__all__ = ["ShuffledBatches"]


class ShuffledBatches:
    """Endless source of epochs over an image set, each in a new order and with new shifts.

    Order and shifts come from a generator of its own, so that they depend on the seed alone. Its state, the current
    order and the position in it are the whole state: restored, the very next batch is the one that would have come.

    Args:
        data: Images to train on.
        batch_size: Images per batch; the last batch of an epoch may be smaller.
        shift: Largest random shift in pixels.
        seed: Of order and shifts.
    """

    def __init__(self, data: Images, batch_size: int, shift: int, seed: int) -> None:
        self._data = data
        self._batch_size = batch_size
        self._shift = shift
        self._generator = torch.Generator().manual_seed(seed)
        self._order: Tensor | None = None  # None between two epochs
        self.position = 0
        """Batches of the current epoch already given."""

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-len(self._data) // self._batch_size)

    def rest_of_epoch(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of this epoch that are still to come: images ``[B, channels, H, W]`` in [0, 1] and labels ``[B]``."""
        if self._order is None:
            self._order = torch.randperm(len(self._data), generator=self._generator)
        while self.position < len(self):
            start = self.position * self._batch_size
            images, labels = self._data.batch(self._order[start : start + self._batch_size])
            images = random_shift(images, self._shift, self._generator)
            self.position += 1
            yield images, labels

    def end_epoch(self) -> None:
        """Makes :meth:`rest_of_epoch` start a new epoch."""
        self._order = None
        self.position = 0

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"generator": self._generator.get_state(), "order": self._order, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self._generator.set_state(state["generator"])
        self._order = state["order"]
        self.position = state["position"]
