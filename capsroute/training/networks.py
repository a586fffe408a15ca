"""The network of a configuration."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from capsroute.models import PRESETS, CapsNet
from capsroute.training.config import TrainConfig

__all__ = ["build_network"]


def build_network(config: TrainConfig, device: torch.device, **changes: Any) -> nn.Module:
    """A network, its parameters drawn from the seed.

    The convolutions work on channels-last memory: faster, and the capsules come out without a copy.

    Args:
        config: Its data set chooses the preset. The network ``"pooling-cnn"`` has about as many parameters as the
            capsule network of the same preset and decoder.
        device: Where it is to run.
        **changes: Options of :class:`~capsroute.models.CapsNet` that take precedence over the preset.
    """
    torch.manual_seed(config.seed)
    options: dict[str, Any] = {**PRESETS[config.dataset], **changes}
    if not config.reconstruction:
        options["decoder_sizes"] = None
    if config.network == "pooling-cnn":
        from capsroute.models import PoolingCNN

        network: nn.Module = PoolingCNN.matching(**options)
    else:
        network = CapsNet(**options, iterations=config.iterations, routing=config.routing)
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
