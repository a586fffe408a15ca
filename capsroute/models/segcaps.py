"""SegCaps of LaLonde and Bagci: Capsules for Object Segmentation, 2018."""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from capsroute.models.exporting import exportable
from capsroute.nn import ConvCapsules2d, ConvTransposeCapsules2d, capsule_lengths, targets
from capsroute.routing import checks, proxies
from capsroute.routing.proxies import traceable

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from capsroute.routing.keywords import RoutingKeywords

__all__ = ["SegCaps", "SegCapsOutput"]

_Capsules = tuple[int, int]  # types and components of the capsules at a position


@exportable
class SegCapsOutput(NamedTuple):
    """What :class:`SegCaps` returns."""

    capsules: Tensor
    """The capsule of each pixel, ``[B, D, H, W]``; with several classes those of each, ``[B, K, D, H, W]``."""
    lengths: Tensor
    """Their lengths, ``[B, H, W]`` or ``[B, K, H, W]``: how probably a pixel belongs to the object, or to the class."""
    reconstruction: Tensor | None
    """Images in [0, 1], ``[B, in_channels, H, W]``; None without a decoder."""


class SegCaps(nn.Module):
    """Convolutional capsules down to an eighth of the resolution and up again, with skip connections, as a U-Net.

    The defaults are SegCaps R3 of the authors' code (github.com/lalonderodney/SegCaps, ``CapsNetR3``): 1,425,649
    parameters, "1.4 M" in its table, of which 9,537 are the decoder's. A small network for small images has smaller
    numbers, such as ``SegCaps(types=1, size=8)`` with 179,897 parameters.

    Every layer has one weight for all input types and a bias that starts at 0.1, as there.

    Args:
        in_channels: Channels of the images.
        types: Capsule types of the first capsule layer; deeper ones have up to four times as many.
        size: Components of the first and the last capsules; deeper ones have up to four times as many.
        decoder: Whether there is a decoder. It runs in every step; where the loss leaves the reconstruction out,
            DistributedDataParallel stops in its second step, waiting for the decoder's gradients: make the network
            with ``decoder=False``, or pass ``find_unused_parameters=True`` there.
        classes: What a pixel can belong to, K: 1 for an object before its background, as the authors have it. With
            more, background is a class of its own or none, and :func:`capsroute.nn.margin_loss` takes the lengths and
            the class of each pixel, ``[B, H, W]``.
        device: Of the parameters.
        dtype: Of the parameters.
        **options: Of the routing, see :func:`capsroute.dynamic_routing`; the first capsule layer, which has one input
            capsule, always takes one iteration.

    Raises:
        ValueError: A size below 1.
        TypeError: An unknown option.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        types: int = 2,
        size: int = 16,
        decoder: bool = True,
        classes: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: "Unpack[RoutingKeywords]",
    ) -> None:
        super().__init__()
        (classes,) = checks.at_least_one(classes=classes)
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        common: dict[str, Any] = {"bias": True, "window": "joined", "share_types": True, "padding": "same", **place}
        common |= options
        once = {**common, "iterations": 1, "temperature": 1.0}

        def layer(
            into: _Capsules, out: _Capsules, kernel: int = 5, stride: int = 1, common: dict[str, Any] = common
        ) -> ConvCapsules2d:
            return _started(ConvCapsules2d(*into, *out, kernel, stride, **common))

        def up(into: _Capsules, out: _Capsules) -> ConvTransposeCapsules2d:
            return _started(ConvTransposeCapsules2d(*into, *out, 4, 2, **common))

        in_channels, n, d = checks.at_least_one(in_channels=in_channels, types=types, size=size)
        self.conv = nn.Conv2d(in_channels, d, 5, padding=2, **place)
        self.primary = layer((1, d), (n, d), stride=2, common=once)
        self.at_half = layer((n, d), (2 * n, d))
        self.to_quarter = layer((2 * n, d), (2 * n, 2 * d), stride=2)
        self.at_quarter = layer((2 * n, 2 * d), (4 * n, 2 * d))
        self.to_eighth = layer((4 * n, 2 * d), (4 * n, 4 * d), stride=2)
        self.at_eighth = layer((4 * n, 4 * d), (4 * n, 2 * d))
        self.up_quarter = up((4 * n, 2 * d), (4 * n, 2 * d))
        self.merge_quarter = layer((8 * n, 2 * d), (2 * n, 2 * d))
        self.up_half = up((2 * n, 2 * d), (2 * n, d))
        self.merge_half = layer((4 * n, d), (2 * n, d))
        self.up_full = up((2 * n, d), (n, d))
        self.segment = layer((n + 1, d), (classes, d), kernel=1)
        self.decoder: nn.Sequential | None = None
        if checks.flag("decoder", decoder):
            self.decoder = nn.Sequential(
                nn.Conv2d(classes * d, 4 * d, 1, **place),
                nn.ReLU(),
                nn.Conv2d(4 * d, 8 * d, 1, **place),
                nn.ReLU(),
                nn.Conv2d(8 * d, in_channels, 1, **place),
                nn.Sigmoid(),
            )

    def forward(self, images: Tensor, mask: Tensor | None = None) -> SegCapsOutput:
        """Segments images and reconstructs what belongs to the object.

        Args:
            images: ``[B, in_channels, H, W]``; H and W are multiples of 8.
            mask: Where the object is, ``[B, H, W]`` of 0 and 1 (bool or any real dtype): the decoder sees 0 elsewhere.
                With several classes the class of each pixel, ``[B, H, W]``, int64, or presence ``[B, K, H, W]`` of 0
                and 1, where a pixel may have none: the decoder sees the capsules of these. Without it, it sees every
                capsule. The segmentation does not depend on it.

        Raises:
            TypeError: The mask is no tensor, or class numbers are not int64.
            ValueError: H or W is no multiple of 8; the mask has another shape or device, or values that it cannot have;
                or the decoder takes other capsules than a last layer that was replaced makes.
        """
        mask = proxies.specialized("mask", mask)
        full = torch.relu(self.conv(_of_eighths(checks.floating("images", images)))).unsqueeze(
            1
        )  # one capsule: all channels of a pixel
        half = self.at_half(self.primary(full))
        quarter = self.at_quarter(self.to_quarter(half))
        eighth = self.at_eighth(self.to_eighth(quarter))
        quarter = self.merge_quarter(torch.cat([self.up_quarter(eighth), quarter], dim=1))
        half = self.merge_half(torch.cat([self.up_half(quarter), half], dim=1))
        capsules = self.segment(torch.cat([self.up_full(half), full], dim=1))  # [B, K, D, H, W]
        lengths = capsule_lengths(capsules.movedim(2, -1))  # [B, K, H, W]
        present = None if mask is None else _present(mask, lengths)
        reconstruction = None
        if self.decoder is not None:
            first = self.decoder[0]
            reconstruction = self.decoder(_seen(capsules, present, getattr(first, "in_channels", None)))
        return _named(capsules, lengths, reconstruction)


# What looks at sizes stands in functions of its own, nodes of a graph of torch.fx.


@traceable
def _of_eighths(images: Tensor) -> Tensor:
    """The images, whose sides are multiples of 8."""
    height, width = images.shape[-2:]
    if height % 8 or width % 8:
        raise ValueError(f"images must have a height and width that are multiples of 8, got {height} and {width}")
    return images


@traceable
def _seen(capsules: Tensor, present: Tensor | None, channels: int | None) -> Tensor:
    """Maps of the capsules ``[B, K, D, H, W]`` that are present, bool ``[B, K, H, W]``, or of all.

    Args:
        capsules: As above.
        present: As above.
        channels: What the decoder takes, where that is known.
    """
    maps = (capsules if present is None else torch.where(present.unsqueeze(2), capsules, 0)).flatten(1, 2)
    if channels not in (None, maps.shape[1]):
        classes, size = capsules.shape[1:3]
        raise ValueError(
            f"decoder must take {classes} x {size} components, those of the last layer, and takes {channels}: "
            f"make SegCaps with classes={classes}, or replace the decoder too"
        )
    return maps


@traceable
def _named(capsules: Tensor, lengths: Tensor, reconstruction: Tensor | None) -> SegCapsOutput:
    """The output, without an axis for a single class."""
    if capsules.shape[1] == 1:
        return SegCapsOutput(capsules.squeeze(1), lengths.squeeze(1), reconstruction)
    return SegCapsOutput(capsules, lengths, reconstruction)


def _present(mask: Tensor, lengths: Tensor) -> Tensor:
    """The mask as bool ``[B, K, H, W]``."""
    batch, classes, height, width = lengths.shape
    if classes > 1:
        return targets.presence("mask", mask, "images", lengths)
    if checks.dense("mask", mask).shape != (batch, height, width):
        raise ValueError(f"mask must have the shape {[batch, height, width]}, got {list(mask.shape)}")
    return targets.presence("mask", mask.unsqueeze(1), "images", lengths)


def _started(layer: Any) -> Any:
    """The layer with its bias at the value that the authors start from."""
    nn.init.constant_(layer.bias, 0.1)
    return layer
