"""What all ranks of a run must have in common."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from capsroute.training.config import TrainConfig
from capsroute.training.datasets import Dataset

__all__ = ["facts_to_agree_on", "weights_checksum"]


def facts_to_agree_on(model: nn.Module, config: TrainConfig, data: Dataset) -> dict[str, object]:
    """Plain values by names for people; two runs that differ in none of them train the same way."""
    facts: dict[str, object] = dict(config.as_dict())
    facts["the number of parameters"] = sum(parameter.numel() for parameter in model.parameters())
    parts = (("training", data.train, data.train_checksum), ("test", data.test, data.test_checksum))
    for name, images, images_checksum in parts:
        facts[f"the number of {name} images"] = len(images)
        facts[f"the shape of {name} images"] = list(images.image_shape)
        facts[f"the checksum of the {name} images"] = images_checksum
    return facts


def weights_checksum(model: nn.Module) -> str:
    """Of all parameters, by their bits; each rank may have read them from a file of its own."""
    return _checksum(value.detach().cpu() for value in model.parameters())


def _checksum(tensors: Iterable[Tensor]) -> str:
    total = 0
    for tensor in tensors:
        total = zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes(), total)
    return f"{total:08x}"
