"""The network of a configuration."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from capsroute.models import PRESETS, CapsNet
from capsroute.routing import checks
from capsroute.training.config import TrainConfig

__all__ = ["build_network", "construct_network", "image_shape"]


def build_network(config: TrainConfig, device: torch.device | str, **changes: Any) -> nn.Module:
    """A network, its parameters drawn from the seed.

    Args:
        config: As :func:`construct_network` takes it, and with the seed.
        device: Where it is to run.
        **changes: Options of :class:`~capsroute.models.CapsNet` that take precedence over the preset.
    """
    torch.manual_seed(config.seed)
    return construct_network(config, **changes).to(device=device)


def construct_network(config: TrainConfig, **changes: Any) -> nn.Module:
    """A network on torch's default device, its parameters drawn from torch's global generator.

    The convolutions work on channels-last memory: faster, and the capsules come out without a copy.

    Args:
        config: Its data set chooses the preset. The network ``"pooling-cnn"`` has about as many parameters as the
            capsule network of the same preset and decoder.
        **changes: Options of :class:`~capsroute.models.CapsNet` that take precedence over the preset.
    """
    options: dict[str, Any] = {**PRESETS[config.dataset], **changes}
    if not config.reconstruction:
        options["decoder_sizes"] = None
    if config.network == "pooling-cnn":
        from capsroute.models import PoolingCNN

        network: nn.Module = PoolingCNN.matching(options)
    else:
        network = CapsNet(**options, iterations=config.iterations, routing=config.routing)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def image_shape(config: TrainConfig, **changes: Any) -> tuple[int, int, int]:
    """Channels, height and width in pixels of the images that :func:`construct_network`'s network takes."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(CapsNet).parameters.items()}
    options = {**defaults, **PRESETS[config.dataset], **changes}
    size = options["image_size"]
    height, width = checks.per_axis("image_size", size, 2, 1)
    return options["in_channels"], height, width
