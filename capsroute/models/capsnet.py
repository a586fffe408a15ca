"""CapsNet of Sabour, Frosst and Hinton: Dynamic Routing Between Capsules, 2017."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from capsroute.models.exporting import exportable
from capsroute.nn import CapsuleLayer, PrimaryCapsules, ReconstructionDecoder, capsule_lengths, set_routing, targets
from capsroute.routing import checks, proxies
from capsroute.routing.options import DEFAULTS

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from capsroute.routing.keywords import RoutingKeywords

__all__ = ["CapsNet", "CapsNetOutput"]


@exportable
class CapsNetOutput(NamedTuple):
    """What :class:`CapsNet` returns."""

    capsules: Tensor
    """Class capsules, ``[B, J, D]``."""
    lengths: Tensor
    """Their lengths, ``[B, J]``: the longest is the predicted class."""
    reconstruction: Tensor | None
    """Images in [0, 1], ``[B, channels, H, W]``; None without a decoder or where none was asked for."""

    @property
    def scores(self) -> Tensor:
        """What classifies, ``[B, J]``, by the name that it has in every network: the lengths."""
        return self.lengths


_MANY_WEIGHTS = 100_000_000  # of the routing, and no published network is near


def _positions(name: str, size: int, kernel: int, stride: int, padding: int) -> int:
    """Positions that a convolution has along one side."""
    positions = (size + 2 * padding - kernel) // stride + 1
    if size + 2 * padding < kernel:
        raise ValueError(f"{name}={kernel} does not fit into the {size} pixels (padding {padding}) that reach it")
    return positions


class CapsNet(nn.Module):
    """Convolution, primary capsules, class capsules by dynamic routing, and a decoder.

    The defaults are the network of the paper for MNIST: 1,152 input capsules of 8 components, 10 output capsules of 16,
    8.2 million parameters with the decoder and 6.8 million without. Both grow with the area of the images: 200x200
    pixels in three channels make 270,848 input capsules and 476 million parameters, 347 million in the routing and 124
    million in the decoder. ``conv_stride=2, primary_stride=4, decoder_sizes=None`` leaves 25 million of them.

    Args:
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels; one int for both.
        conv_channels: Channels of the first convolution.
        conv_kernel: Kernel of the first convolution.
        conv_stride: Stride of the first convolution.
        conv_padding: Padding of the first convolution.
        primary_types: Types of primary capsules, each at every position.
        primary_size: Components of a primary capsule, d.
        primary_kernel: Kernel of the primary capsules.
        primary_stride: Stride of the primary capsules.
        primary_padding: Padding of the primary capsules.
        classes: Class capsules, J.
        capsule_size: Components of a class capsule, D.
        bias: Whether the class capsules have a bias.
        learnable_logits: Whether the initial routing logits are learned.
        shared_weight: Whether the primary capsules of a type share their routing weight over all positions.
        routing: ``"fused"`` or ``"reference"``; may be changed at any time by setting the attribute.
        decoder_sizes: Hidden widths of the decoder; None for no decoder.
        device: Of the parameters.
        dtype: Of the parameters.
        **options: ``iterations`` and the other options of :func:`capsroute.dynamic_routing` that are no tensors;
            ``eps`` is that of the primary capsules too.

    Raises:
        TypeError: An unknown option of the routing.
        ValueError: A kernel does not fit into the image, or an option of the routing is not allowed.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        image_size: int | Sequence[int] = 28,
        conv_channels: int = 256,
        conv_kernel: int = 9,
        conv_stride: int = 1,
        conv_padding: int = 0,
        primary_types: int = 32,
        primary_size: int = 8,
        primary_kernel: int = 9,
        primary_stride: int = 2,
        primary_padding: int = 0,
        classes: int = 10,
        capsule_size: int = 16,
        bias: bool = False,
        learnable_logits: bool = False,
        shared_weight: bool = False,
        routing: str = "fused",
        decoder_sizes: Sequence[int] | None = (512, 1024),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: "Unpack[RoutingKeywords]",
    ) -> None:
        super().__init__()
        height, width = checks.per_axis("image_size", image_size, 2, 1)
        in_channels, conv_channels, conv_kernel, conv_stride = checks.at_least_one(
            in_channels=in_channels, conv_channels=conv_channels, conv_kernel=conv_kernel, conv_stride=conv_stride
        )
        primary_types, primary_size, primary_kernel, primary_stride, classes, capsule_size = checks.at_least_one(
            primary_types=primary_types,
            primary_size=primary_size,
            primary_kernel=primary_kernel,
            primary_stride=primary_stride,
            classes=classes,
            capsule_size=capsule_size,
        )
        conv_padding = checks.whole("conv_padding", conv_padding, least=0)
        primary_padding = checks.whole("primary_padding", primary_padding, least=0)
        positions = 1
        for side in (height, width):
            inner = _positions("conv_kernel", side, conv_kernel, conv_stride, conv_padding)
            positions *= _positions("primary_kernel", inner, primary_kernel, primary_stride, primary_padding)
        place: dict[str, Any] = {"device": device, "dtype": dtype}

        self.conv = nn.Conv2d(in_channels, conv_channels, conv_kernel, conv_stride, conv_padding, **place)
        self.primary = PrimaryCapsules(
            conv_channels,
            primary_types,
            primary_size,
            primary_kernel,
            primary_stride,
            primary_padding,
            eps=options.get("eps", DEFAULTS.eps),
            **place,
        )
        self.classes = CapsuleLayer(
            positions * primary_types,
            primary_size,
            classes,
            capsule_size,
            bias,
            learnable_logits=learnable_logits,
            weight_sets=primary_types if checks.flag("shared_weight", shared_weight) else None,
            routing=routing,
            **place,
            **options,
        )
        if self.classes.weight.numel() > _MANY_WEIGHTS:
            warnings.warn(
                f"image_size={height}x{width} makes {self.classes.in_capsules:,} primary capsules, and so "
                f"{self.classes.weight.numel():,} weights of the routing: a larger conv_stride or primary_stride makes "
                "fewer of both, shared_weight=True fewer weights",
                stacklevel=2,
            )
        self.decoder: ReconstructionDecoder | None = None
        if decoder_sizes is not None:
            decoder_sizes = checks.wholes("decoder_sizes", decoder_sizes)
            self.decoder = ReconstructionDecoder(
                classes, capsule_size, (in_channels, height, width), decoder_sizes, **place
            )

    @property
    def routing(self) -> str:
        """Who routes, ``"fused"`` or ``"reference"``; set it to switch the whole model."""
        return self.classes.routing

    @routing.setter
    def routing(self, routing: str) -> None:
        set_routing(self, routing)

    def forward(self, images: Tensor, labels: Tensor | None = None, *, reconstruct: bool = True) -> CapsNetOutput:
        """Classifies images and reconstructs them.

        Args:
            images: ``[B, in_channels, H, W]``, values in [0, 1] as the decoder reconstructs them.
            labels: Class whose capsule is decoded, ``[B]``, int64; or presence ``[B, J]``, 0 or 1 for each class, whose
                capsules are decoded together; without it, the longest capsule. The paper gives the true class while
                training. The classification does not depend on it.
            reconstruct: Whether to run the decoder. Where none does, DistributedDataParallel stops in its second step,
                waiting for its gradients: make the network with ``decoder_sizes=None`` instead, or pass
                ``find_unused_parameters=True`` there.

        Raises:
            TypeError: As :class:`~capsroute.nn.ReconstructionDecoder` does for ``labels``.
            ValueError: Likewise.
        """
        labels, reconstruct = proxies.specialized("labels", labels), proxies.specialized("reconstruct", reconstruct)
        features = torch.relu(self.conv(checks.floating("images", images)))  # [B, conv_channels, H', W']
        capsules = self.classes(self.primary(features))  # [B, J, D]
        lengths = capsule_lengths(capsules)
        reconstruction = None
        if reconstruct and self.decoder is not None:
            reconstruction = self.decoder(capsules, labels)
        elif labels is not None:
            targets.presence("labels", labels, "images", lengths)
        return CapsNetOutput(capsules, lengths, reconstruction)
