"""The network of a configuration."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from capsroute.models import PRESETS, CapsNet, compact_options
from capsroute.routing import checks
from capsroute.training.config import MNIST_LIKE, TrainConfig
from capsroute.training.datasets import Dataset

__all__ = ["build_network", "construct_network", "image_shape", "network_options"]

# Data sets that have a network of their own. Images of all others get one that suits their size.
_OWN: dict[str | None, dict[str, Any]] = {
    **dict.fromkeys(MNIST_LIKE, PRESETS["mnist"]),
    **{name: PRESETS[name] for name in ("digits", "svhn", "cifar10", "smallnorb", "affnist")},
}


def network_options(config: TrainConfig, data: Dataset) -> dict[str, Any]:
    """What a network for these images has beyond the preset of their data set: ``changes`` of :func:`build_network`.

    Args:
        config: Names the data set.
        data: Has the shape of the images and the classes.

    Returns:
        Values of JSON by the names of :class:`~capsroute.models.CapsNet`'s arguments; none where the preset fits.
    """
    shape, classes = data.image_shape, len(data.classes)  # no classes where nobody says which there are
    options: dict[str, Any] = {}
    if config.dataset not in _OWN:
        options = compact_options(shape)
    elif shape != image_shape(config):
        options = {"in_channels": shape[0], "image_size": list(shape[1:])}
    if classes and classes != _preset(config)["classes"]:
        options["classes"] = classes
    return options


def build_network(config: TrainConfig, device: torch.device | str, **changes: Any) -> nn.Module:
    """A network, its parameters drawn from the seed.

    Args:
        config: As :func:`construct_network` takes it, and with the seed.
        device: Where it is to run.
        **changes: Options of :class:`~capsroute.models.CapsNet` that take precedence over the preset, such as
            :func:`network_options` finds.
    """
    torch.manual_seed(config.seed)
    return construct_network(config, **changes).to(device=device)


def construct_network(config: TrainConfig, **changes: Any) -> nn.Module:
    """A network on torch's default device, its parameters drawn from torch's global generator.

    The convolutions work on channels-last memory: faster, and the capsules come out without a copy.

    Args:
        config: Its data set chooses the preset; one that has none begins with the network of the paper. The network
            ``"pooling-cnn"`` has about as many parameters as the capsule network of the same preset and decoder.
        **changes: Options of :class:`~capsroute.models.CapsNet` that take precedence over the preset.
    """
    options: dict[str, Any] = {**_OWN.get(config.dataset, {}), **changes}
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
    options = {**_preset(config), **changes}
    size = options["image_size"]
    height, width = checks.per_axis("image_size", size, 2, 1)
    return options["in_channels"], height, width


def _preset(config: TrainConfig) -> dict[str, Any]:
    """Every option of CapsNet by its name, as the data set has it."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(CapsNet).parameters.items()}
    return {**defaults, **_OWN.get(config.dataset, {})}
