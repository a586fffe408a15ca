"""Residual network with capsules on top, as in Hahn, Pyeon and Kim: Self-Routing Capsule Networks, 2019."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from capsroute.models.capsnet import CapsNetOutput
from capsroute.nn import ConvCapsules2d, capsule_lengths, primary_poses, targets
from capsroute.routing import checks, proxies

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from capsroute.routing.keywords import RoutingKeywords

__all__ = ["ResNetCapsules"]


class _Block(nn.Module):
    """Two convolutions beside a shortcut without parameters (He et al. 2016, option A: zeros for new channels)."""

    def __init__(self, in_channels: int, channels: int, stride: int, place: dict[str, Any]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False, **place)
        self.norm1 = nn.BatchNorm2d(channels, **place)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False, **place)
        self.norm2 = nn.BatchNorm2d(channels, **place)
        self.stride = stride
        self.missing = channels - in_channels

    def forward(self, maps: Tensor) -> Tensor:
        """``[B, in_channels, H, W]`` to ``[B, channels, ceil(H / stride), ceil(W / stride)]``."""
        deep = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(maps)))))
        skipped = maps[:, :, :: self.stride, :: self.stride]
        before = self.missing // 2
        return torch.relu(deep + nn.functional.pad(skipped, [0, 0, 0, 0, before, self.missing - before]))


class ResNetCapsules(nn.Module):
    """ResNet for small images, poses from its last maps, optional convolutional capsules, class capsules.

    The defaults are ResNet-20 with dynamic routing of the authors' code (github.com/coder3000/SR-CapsNet,
    ``resnet_dynamic_routing``) for CIFAR-10: 5,807,888 parameters, of which the class capsules hold 5,242,880. With
    ``depth=2``, the shape with convolutional capsules, there are 4,235,024. Both are counted layer by layer from that
    code; with ``depth=2`` it has 1,024 more, of a batch normalisation that it never applies.

    That code trains with the negative log-likelihood of ``lengths / lengths.sum(1)``; the margin loss works as well.

    Args:
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels; one int for both.
        classes: Class capsules, J.
        blocks: Residual blocks in each of the three stages, 3 for ResNet-20, 5 for 32, 9 for 56.
        planes: Channels of the first stage; each further one has twice as many.
        types: Capsule types, C.
        size: Components of every capsule.
        depth: Capsule layers: the class capsules and ``depth - 1`` convolutional ones before them, the first of these
            with a stride of 2.
        device: Of the parameters.
        dtype: Of the parameters.
        **options: Of every routing, see :func:`capsroute.dynamic_routing`.

    Raises:
        ValueError: A size below 1.
        TypeError: An unknown option.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        image_size: int | Sequence[int] = 32,
        classes: int = 10,
        blocks: int = 3,
        planes: int = 16,
        types: int = 32,
        size: int = 16,
        depth: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: "Unpack[RoutingKeywords]",
    ) -> None:
        super().__init__()
        in_channels, classes, blocks, planes, types, size, depth = checks.at_least_one(
            in_channels=in_channels,
            classes=classes,
            blocks=blocks,
            planes=planes,
            types=types,
            size=size,
            depth=depth,
        )
        sides = list(checks.per_axis("image_size", image_size, 2, 1))
        place: dict[str, Any] = {"device": device, "dtype": dtype}

        self.conv = nn.Conv2d(in_channels, planes, 3, padding=1, bias=False, **place)
        self.norm = nn.BatchNorm2d(planes, **place)
        layers: list[nn.Module] = []
        channels = planes
        for stage in range(3):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(_Block(channels, planes << stage, stride, place))
                channels, sides = planes << stage, [-(-side // stride) for side in sides]
        self.stages = nn.Sequential(*layers)

        self.types = types
        self.pose_conv = nn.Conv2d(channels, types * size, 3, padding=1, bias=False, **place)
        self.pose_norm = nn.BatchNorm2d(types * size, **place)
        capsules: list[nn.Module] = []
        for layer in range(depth - 1):
            stride = 2 if layer == 0 else 1
            capsules.append(ConvCapsules2d(types, size, types, size, 3, stride, 1, **place, **options))
            sides = [-(-side // stride) for side in sides]
        self.capsules = nn.Sequential(*capsules)
        self.classes = ConvCapsules2d(types, size, classes, size, sides, **place, **options)  # one window: all of it

    def forward(self, images: Tensor, labels: Tensor | None = None) -> CapsNetOutput:
        """Classifies images; there is no reconstruction.

        Args:
            images: ``[B, in_channels, H, W]``.
            labels: Class numbers ``[B]`` or presence ``[B, J]``, which are checked and not used: there is no decoder.
                They stand here so that one training loop serves all networks.

        Raises:
            TypeError: As :func:`capsroute.nn.margin_loss` does for its target.
            ValueError: Likewise.
        """
        labels = proxies.specialized("labels", labels)
        maps = self.stages(torch.relu(self.norm(self.conv(checks.floating("images", images)))))
        poses = primary_poses(self.pose_norm(self.pose_conv(maps)), self.types)  # [B, C, d, H', W']
        capsules = self.classes(self.capsules(poses)).flatten(2)  # [B, J, D]: one position is left
        lengths = capsule_lengths(capsules)
        if labels is not None:
            targets.presence("labels", labels, "images", lengths)
        return CapsNetOutput(capsules, lengths, None)
