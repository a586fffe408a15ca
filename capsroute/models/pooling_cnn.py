"""Convolutional network with max pooling: what capsule networks are compared with."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from capsroute.models.capsnet import CapsNet
from capsroute.models.exporting import exportable
from capsroute.nn import ReconstructionDecoder, targets
from capsroute.routing import checks, proxies

__all__ = ["PoolingCNN", "PoolingCNNOutput"]


@exportable
class PoolingCNNOutput(NamedTuple):
    """What :class:`PoolingCNN` returns."""

    features: Tensor
    """What the last layer classifies, ``[B, hidden[-1]]``, at least 0."""
    scores: Tensor
    """Class scores before a softmax, ``[B, classes]``: the largest is the predicted class."""
    reconstruction: Tensor | None
    """Images in [0, 1], ``[B, channels, H, W]``; None without a decoder or where none was asked for."""


class PoolingCNN(nn.Module):
    """Convolutions with ReLU and max pooling, fully connected layers with ReLU, class scores, and a decoder.

    It stands where Sabour et al. 2017 (section 5) have a baseline of three 5x5 convolutions with 256, 256 and 128
    channels and fully connected layers of 328 and 192 with dropout, trained with cross-entropy and Adam: 35.4 million
    parameters, five times as many as CapsNet, and no pooling is mentioned. This one pools, since pooling is what
    capsules are said to do without, and :meth:`matching` gives it as many parameters as the CapsNet beside it. The
    defaults match the CapsNet of the paper for MNIST: 6.8 million parameters without the decoder.

    The decoder is that of CapsNet, fed with the features. With ``hidden[-1]`` equal to J · D of a CapsNet it has as
    many parameters as that one, but it sees all features where the other sees one capsule, D components, and its class.

    Args:
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels; one int for both.
        channels: Channels of the convolutions. Each convolution keeps the size of its maps, and a max pooling over 2x2
            pixels halves them, rounded up.
        kernel: Of the convolutions, odd.
        hidden: Widths of the fully connected layers; the last is the number of features.
        classes: Classes.
        dropout: Share of the features that are dropped before the classification in training; the decoder sees all.
        decoder_sizes: Hidden widths of the decoder; None for no decoder.
        device: Of the parameters.
        dtype: Of the parameters.

    Raises:
        ValueError: A size below 1, an even kernel, no convolution or no fully connected layer, or a dropout outside
            [0, 1).
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        image_size: int | Sequence[int] = 28,
        channels: Sequence[int] = (82, 164, 328),
        kernel: int = 5,
        hidden: Sequence[int] = (946, 160),
        classes: int = 10,
        dropout: float = 0.5,
        decoder_sizes: Sequence[int] | None = (512, 1024),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        channels, hidden = checks.wholes("channels", channels), checks.wholes("hidden", hidden)
        if not channels or not hidden:
            raise ValueError(f"channels and hidden must name at least one layer each, got {channels} and {hidden}")
        in_channels, kernel, classes = checks.at_least_one(in_channels=in_channels, kernel=kernel, classes=classes)
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, so that maps keep their size, got {kernel}")
        dropout = checks.number("dropout", dropout, "at least 0 and below 1", or_equal=True)
        if dropout >= 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        height, width = _sides(image_size)
        place: dict[str, Any] = {"device": device, "dtype": dtype}

        layers: list[nn.Module] = []
        for width_in, width_out in pairwise((in_channels, *channels)):
            layers += [
                nn.Conv2d(width_in, width_out, kernel, padding=kernel // 2, **place),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
        self.convs = nn.Sequential(*layers)
        layers = []
        for width_in, width_out in pairwise((_pooled(height, width, len(channels)) * channels[-1], *hidden)):
            layers += [nn.Linear(width_in, width_out, **place), nn.ReLU()]
        self.hidden = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(hidden[-1], classes, **place)
        self.decoder: ReconstructionDecoder | None = None
        if decoder_sizes is not None:
            decoder_sizes = checks.wholes("decoder_sizes", decoder_sizes)
            # All features are one capsule, so there is no other one to hide.
            self.decoder = ReconstructionDecoder(1, hidden[-1], (in_channels, height, width), decoder_sizes, **place)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights before each ReLU as He et al. 2015 do, with biases of 0.

        Torch's own initial weights shrink the features from layer to layer: of the networks for experiments, one did
        not train at all with them, and the others were less accurate.
        """
        for layer in (*self.convs, *self.hidden):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    @classmethod
    def matching(
        cls, capsnet: Mapping[str, Any], *, features: int | None = None, dropout: float = 0.5, **place: Any
    ) -> "PoolingCNN":
        """A network for the same images and classes, with as many parameters as a CapsNet, within 10 %.

        The decoders are not counted; this network has one of the same hidden widths as the CapsNet. Widths double from
        one convolution to the next and convolutions hold at most a quarter of the parameters; the first fully connected
        layer has the rest. There are two 3x3 convolutions where the smaller side of the images is below 16 pixels, else
        three of 5x5.

        Args:
            capsnet: Arguments of :class:`~capsroute.models.CapsNet`, such as an entry of ``PRESETS``.
            features: Number of features; None for J · D of the CapsNet, which makes the decoders equal in size.
            dropout: Share of the features that are dropped in training.
            **place: ``device`` and ``dtype``.

        Raises:
            TypeError: An unknown argument of CapsNet.
            ValueError: CapsNet refuses its arguments, or is so small that no such network has as few parameters; or
                ``features`` is below 1.
        """
        twin = CapsNet(**{**capsnet, "device": "meta"})
        target = sum(parameter.numel() for name, parameter in twin.named_parameters() if "decoder" not in name)
        _, classes, size = twin.classes.weight.shape[:3]
        options = {
            "in_channels": twin.conv.in_channels,
            "image_size": capsnet.get("image_size", 28),
            "classes": classes,
            "dropout": dropout,
            "decoder_sizes": capsnet.get("decoder_sizes", (512, 1024)),
        }
        width = classes * size if features is None else checks.whole("features", features)
        widths = _widths(target, twin.conv.in_channels, _sides(options["image_size"]), classes, width)
        return cls(**options, **widths, **place)

    def forward(self, images: Tensor, labels: Tensor | None = None, *, reconstruct: bool = True) -> PoolingCNNOutput:
        """Classifies images and reconstructs them.

        Args:
            images: ``[B, in_channels, H, W]``, values in [0, 1] as the decoder reconstructs them.
            labels: Class numbers ``[B]`` or presence ``[B, classes]``, which are checked and not used: what CapsNet
                decodes depends on the class, what this network decodes does not. They stand here so that one training
                loop serves both.
            reconstruct: Whether to run the decoder. Where none does, DistributedDataParallel stops in its second step,
                waiting for its gradients: make the network with ``decoder_sizes=None`` instead, or pass
                ``find_unused_parameters=True`` there.

        Raises:
            TypeError: As :func:`capsroute.nn.margin_loss` does for its target.
            ValueError: Likewise.
        """
        labels, reconstruct = proxies.specialized("labels", labels), proxies.specialized("reconstruct", reconstruct)
        features = self.hidden(self.convs(checks.floating("images", images)).flatten(1))  # [B, hidden[-1]]
        reconstruction = None
        if reconstruct and self.decoder is not None:
            reconstruction = self.decoder(features.unsqueeze(1))
        scores = self.classes(self.dropout(features))
        if labels is not None:
            targets.presence("labels", labels, "images", scores)
        return PoolingCNNOutput(features, scores, reconstruction)


def _sides(image_size: int | Sequence[int]) -> tuple[int, int]:
    height, width = checks.per_axis("image_size", image_size, 2, 1)
    return height, width


def _pooled(height: int, width: int, stages: int) -> int:
    """Positions that are left after so many poolings."""
    return -(-height // 2**stages) * -(-width // 2**stages)


def _widths(target: int, in_channels: int, sides: tuple[int, int], classes: int, features: int) -> dict[str, Any]:
    """Arguments of :class:`PoolingCNN` that give it ``target`` parameters without the decoder, as near as may be."""
    stages, kernel = (2, 3) if min(sides) < 16 else (3, 5)

    def channels(unit: int) -> tuple[int, ...]:
        return tuple(unit << stage for stage in range(stages))

    def in_convs(unit: int) -> int:
        return sum(b * (kernel**2 * a + 1) for a, b in pairwise((in_channels, *channels(unit))))

    unit = 1
    while in_convs(unit + 1) <= target / 4:
        unit += 1
    flat = _pooled(*sides, stages) * channels(unit)[-1]
    # Of the width of the first fully connected layer, the number of parameters is a linear function.
    fixed = in_convs(unit) + features + classes * (features + 1)
    width = round((target - fixed) / (flat + 1 + features))
    if width < 1 or abs(fixed + width * (flat + 1 + features) - target) > target / 10:
        raise ValueError(
            f"no PoolingCNN with {features} features for {classes} classes has about {target:,} parameters: "
            "choose fewer features or a larger CapsNet"
        )
    return {"channels": channels(unit), "kernel": kernel, "hidden": (width, features)}
