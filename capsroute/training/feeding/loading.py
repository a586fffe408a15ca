"""How images reach the device that trains on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from capsroute.training.datasets import Images, ImageSet

__all__ = ["DeviceImageSet", "loaded", "loaded_ahead", "resident"]

Drawn = TypeVar("Drawn")
Loaded = TypeVar("Loaded")

# Of the free memory of a GPU, what a data set may take: the network needs the rest.
_SHARE_OF_MEMORY = 0.25


class DeviceImageSet:
    """An image set that stays on a device, a byte per pixel; its batches have the same bits as on the CPU.

    Args:
        images: The image set.
        device: Where it is to stay.
    """

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        self._images = images.images.to(device)
        self._labels = images.labels.to(device)
        # A divisor on the device: CUDA multiplies by the reciprocal of one that is a mere number.
        self._white = torch.tensor(float(images.white), device=device)
        self.image_shape = images.image_shape
        """Channels, height and width in pixels."""

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """As :meth:`~capsroute.training.datasets.ImageSet.batch`, on the device."""
        if isinstance(indices, Tensor):
            indices = indices.to(self._labels.device, non_blocking=True)
        return self._images[indices].to(torch.float32) / self._white, self._labels[indices]


def resident(images: Images, device: torch.device) -> Images:
    """The images on a GPU, where they are in memory as bytes and fit there; else as they are.

    Args:
        images: On the CPU.
        device: Where the network runs.
    """
    if device.type != "cuda" or not isinstance(images, ImageSet):
        return images
    free, _ = torch.cuda.mem_get_info(device)
    if images.images.nbytes > _SHARE_OF_MEMORY * free:
        return images
    return DeviceImageSet(images, device)


def loaded(draws: Iterable[Drawn], load: Callable[[Drawn], Loaded]) -> Iterator[tuple[Drawn, Loaded]]:
    """Loads each as it is asked for."""
    for drawn in draws:
        yield drawn, load(drawn)


def loaded_ahead(draws: Iterable[Drawn], load: Callable[[Drawn], Loaded]) -> Iterator[tuple[Drawn, Loaded]]:
    """Loads the next in a thread while one is being used; what is loaded, and in which order, is the same."""
    with ThreadPoolExecutor(1, "capsroute-loading") as pool:
        waiting: tuple[Drawn, Future[Loaded]] | None = None
        for drawn in draws:
            coming = drawn, pool.submit(load, drawn)
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = coming
        if waiting is not None:
            yield waiting[0], waiting[1].result()
