"""A data set whose samples are routed where they are made."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

import capsroute


class Routed(Dataset[Tensor]):
    """Output capsules ``[10, 16]`` of made-up inputs."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(index)
        x, weight = torch.randn(1, 300, 8, generator=generator), torch.randn(300, 10, 16, 8, generator=generator)
        return capsroute.dynamic_routing(x, weight)[0]
