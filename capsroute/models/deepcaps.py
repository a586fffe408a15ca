"""DeepCaps of Rajasegaran et al.: DeepCaps: Going Deeper with Capsule Networks, 2019."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from capsroute.models.capsnet import CapsNetOutput
from capsroute.nn import CapsuleLayer, ConvCapsules2d, capsule_lengths, primary_poses, targets
from capsroute.nn.conv_windows import batch
from capsroute.routing import checks, proxies

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from capsroute.routing.keywords import RoutingKeywords

__all__ = ["DeepCaps"]

_KERNEL = 3
_EPS = 1e-7  # of the squash without routing: that of Keras
_Capsules = tuple[int, int]  # types and components of the capsules at a position


class _PoseConv(nn.Module):
    """Convolution over all components of all poses, then the squash: a capsule layer without routing."""

    def __init__(self, into: _Capsules, out: _Capsules, stride: int, place: dict[str, Any]) -> None:
        super().__init__()
        (in_types, in_size), (self.types, size) = into, out
        self.conv = nn.Conv2d(in_types * in_size, self.types * size, _KERNEL, stride, bias=False, **place)
        # A squash makes 1/2 of a length of 1. This scale makes 1 of that again; with a smaller one, each of the many
        # layers would square what is left, and no signal would reach the last.
        nn.init.normal_(self.conv.weight, std=2 / (_KERNEL**2 * in_types * size) ** 0.5)

    def forward(self, poses: Tensor) -> Tensor:
        """``[B, C, d, H, W]`` to ``[B, types, size, H', W']`` with H' = ceil(H / stride)."""
        maps = poses.flatten(1, 2)
        # margins(...) of a kernel of 3, as a sum: torch.fx has no numbers here and follows no branch.
        halves = self.conv.stride[0] == 2
        rows, columns = (size % 2 if halves else 1 for size in (maps.shape[2], maps.shape[3]))
        return primary_poses(self.conv(nn.functional.pad(maps, [columns, 1, rows, 1])), self.types, _EPS)


class _Cell(nn.Module):
    """Half the resolution, then two layers beside another one that skips them."""

    def __init__(self, into: _Capsules, out: _Capsules, skip: nn.Module, place: dict[str, Any]) -> None:
        super().__init__()
        self.down = _PoseConv(into, out, 2, place)
        self.skip = skip
        self.deep = nn.Sequential(*(_PoseConv(out, out, 1, place) for _ in range(2)))

    def forward(self, poses: Tensor) -> Tensor:
        """``[B, C, d, H, W]`` to ``[B, types, size, ceil(H / 2), ceil(W / 2)]``."""
        poses = self.down(poses)
        return self.deep(poses) + self.skip(poses)


class _Decoder(nn.Module):
    """Transposed convolutions from one class capsule, whichever class it is of, to the image.

    Those of stride 2 cut the odd position off at the start, as PyTorch does; TensorFlow cuts it off at the end.
    """

    def __init__(self, size: int, channels: int, image_size: tuple[int, int], place: dict[str, Any]) -> None:
        super().__init__()
        sides, doublings = image_size, 0
        while max(sides) > 8 and sides[0] % 2 == sides[1] % 2 == 0:
            sides, doublings = (sides[0] // 2, sides[1] // 2), doublings + 1
        self.first_shape = (16, *sides)
        self.first = nn.Linear(size, 16 * sides[0] * sides[1], **place)
        layers: list[nn.Module] = [nn.BatchNorm2d(16, **place), nn.ConvTranspose2d(16, 64, 3, 1, 1, **place)]
        width = 64
        for _ in range(doublings):
            layers.append(nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1, **place))
            width //= 2
        layers += [nn.ConvTranspose2d(width, channels, 3, 1, 1, **place), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, capsule: Tensor) -> Tensor:
        """``[B, D]`` to images ``[B, channels, H, W]``."""
        return self.layers(torch.relu(self.first(capsule)).reshape(batch(capsule.shape[0]), *self.first_shape))


class DeepCaps(nn.Module):
    """Four cells of convolutional capsules, one of them with routing, then class capsules and a decoder.

    The defaults are the published network for MNIST (github.com/brjathu/deepcaps, ``DeepCapsNet28``): 8,500,337
    learnable parameters, of which 58,417 are the decoder's. For images of 64x64 in three channels (``DeepCapsNet``)
    there are 13,426,995. Both are counted layer by layer from that code.

    In the last cell the layer beside the others routes by agreement, with one softmax over all output capsules at all
    positions (:class:`~capsroute.nn.ConvCapsules2d` with ``jointly``). It differs from the published code in two
    things: that code takes one norm over the components of a type *at all positions* for its squash, where a capsule
    here is squashed by its own; and its reshape in front of the votes exchanges positions and types, which is taken
    for a mistake. The initial weights are larger than there, see ``_PoseConv``, so that small networks learn at once.

    Args:
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels; one int for both.
        classes: Class capsules, J.
        types: Capsule types in the cells.
        sizes: Components of a capsule in each of the four cells.
        class_size: Components of a class capsule, D.
        decoder: Whether there is a decoder.
        device: Of the parameters.
        dtype: Of the parameters.
        **options: Of the routing in the last cell and in the class capsules, see :func:`capsroute.dynamic_routing`.

    Raises:
        ValueError: Not four ``sizes``, or a size below 1.
        TypeError: An unknown option.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        image_size: int | Sequence[int] = 28,
        classes: int = 10,
        types: int = 32,
        sizes: Sequence[int] = (4, 8, 8, 8),
        class_size: int = 32,
        decoder: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: "Unpack[RoutingKeywords]",
    ) -> None:
        super().__init__()
        in_channels, classes, types, class_size = checks.at_least_one(
            in_channels=in_channels, classes=classes, types=types, class_size=class_size
        )
        sizes = checks.wholes("sizes", sizes)
        if len(sizes) != 4:
            raise ValueError(f"sizes must be four, one for each cell, got {sizes}")
        if sizes[2] != sizes[3]:
            raise ValueError(f"sizes of the last two cells must be equal, as both feed the class capsules; got {sizes}")
        height, width = checks.per_axis("image_size", image_size, 2, 1)
        place: dict[str, Any] = {"device": device, "dtype": dtype}

        channels = types * sizes[0]
        self.conv = nn.Conv2d(in_channels, channels, _KERNEL, padding=1, **place)
        self.norm = nn.BatchNorm2d(channels, **place)
        capsules = (channels, 1)  # every channel is a capsule of one component
        cells = []
        for size in sizes[:3]:
            into, capsules = capsules, (types, size)
            cells.append(_Cell(into, capsules, _PoseConv(capsules, capsules, 1, place), place))
        self.cells = nn.Sequential(*cells)
        last = (types, sizes[3])
        routed = ConvCapsules2d(
            *last,
            *last,
            _KERNEL,
            padding="same",
            bias=True,
            window="joined",
            share_types=True,
            jointly=True,
            **place,
            **options,
        )
        assert routed.bias is not None
        nn.init.constant_(routed.bias, 0.1)
        self.last_cell = _Cell(capsules, last, routed, place)
        positions = sum(-(-height // by) * -(-width // by) for by in (8, 16))
        self.classes = CapsuleLayer(positions * types, sizes[3], classes, class_size, bias=True, **place, **options)
        self.decoder = (
            _Decoder(class_size, in_channels, (height, width), place) if checks.flag("decoder", decoder) else None
        )

    def forward(self, images: Tensor, labels: Tensor | None = None, *, reconstruct: bool = True) -> CapsNetOutput:
        """Classifies images and reconstructs them.

        Args:
            images: ``[B, in_channels, H, W]``.
            labels: Class whose capsule is decoded, ``[B]``, int64; without it, the longest capsule. Presence ``[B, J]``
                fits where nothing is decoded: this decoder takes one capsule, whichever class it is of.
            reconstruct: Whether to run the decoder. Where none does, DistributedDataParallel stops in its second step,
                waiting for its gradients: make the network with ``decoder=False`` instead, or pass
                ``find_unused_parameters=True`` there.

        Raises:
            TypeError: ``labels`` is no tensor, or class numbers are not int64.
            ValueError: ``labels`` has another shape or device, or names a class that there is not.
        """
        labels, reconstruct = proxies.specialized("labels", labels), proxies.specialized("reconstruct", reconstruct)
        maps = self.norm(torch.relu(self.conv(checks.floating("images", images))))
        early = self.cells(maps.unsqueeze(2))
        late = self.last_cell(early)
        capsules = self.classes(torch.cat([_listed(late), _listed(early)], dim=1))  # [B, J, D]
        lengths = capsule_lengths(capsules)
        reconstruction = None
        if reconstruct and self.decoder is not None:
            chosen = lengths.argmax(dim=1) if labels is None else _one_class(labels, lengths)
            # Not by arange(len(chosen)): an exporter would take the length for a number of the program.
            index = chosen[:, None, None].expand(-1, 1, capsules.shape[2])
            reconstruction = self.decoder(capsules.gather(1, index).squeeze(1))
        elif labels is not None:
            targets.presence("labels", labels, "images", lengths)
        return CapsNetOutput(capsules, lengths, reconstruction)


def _one_class(labels: Tensor, lengths: Tensor) -> Tensor:
    """Class numbers ``[B]``; presence is refused with what to do."""
    if checks.dense("labels", labels, "a torch.Tensor of class numbers").shape == lengths.shape:
        raise ValueError(
            f"labels must be class numbers [B] = {[len(lengths)]}, got presence {list(labels.shape)}: the decoder of "
            "DeepCaps draws one class at a time; pass reconstruct=False and call decoder(capsules[:, j]) for each"
        )
    return targets.class_numbers("labels", labels, "images", lengths)


def _listed(poses: Tensor) -> Tensor:
    """``[B, C, d, H, W]`` to ``[B, H * W * C, d]``."""
    return poses.movedim((1, 2), (-2, -1)).flatten(1, 3)
