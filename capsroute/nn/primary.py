"""Primary capsules: the convolution that turns feature maps into capsules, and such capsules on their grid."""

import torch
from torch import Tensor, nn

from capsroute.nn.activations import squash
from capsroute.nn.conv_windows import conv_sizes
from capsroute.nn.leaf import Leaf
from capsroute.routing import checks
from capsroute.routing.proxies import traceable

__all__ = ["PrimaryCapsules", "primary_poses"]


class PrimaryCapsules(Leaf):
    """Convolution whose channels are grouped into capsules, then squashed (Sabour et al. 2017, section 4).

    A capsule is a group of ``size`` consecutive *channels* at one position, as in the paper (not neighbouring positions
    of one channel). Capsules are ordered by position first and by type last: input capsule
    ``i = position * types + type``. So a :class:`~capsroute.nn.CapsuleLayer` with ``weight_sets=types`` shares its
    weight over the positions of each type.

    Args:
        in_channels: Channels of the feature maps.
        types: Capsule types, 32 in the paper.
        size: Components of a capsule, d, 8 in the paper.
        kernel_size: Of the convolution, 9 in the paper.
        stride: Of the convolution, 2 in the paper.
        padding: Of the convolution.
        eps: Of the squash.
        device: Of the parameters.
        dtype: Of the parameters.
    """

    def __init__(
        self,
        in_channels: int,
        types: int = 32,
        size: int = 8,
        kernel_size: int = 9,
        stride: int = 2,
        padding: int = 0,
        *,
        eps: float = 1e-8,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        in_channels, self.types, self.size = checks.at_least_one(in_channels=in_channels, types=types, size=size)
        self.eps = checks.keyword_options({"eps": eps}).eps
        self.conv = nn.Conv2d(
            in_channels,
            self.types * self.size,
            **conv_sizes(kernel_size, stride, padding),
            device=device,
            dtype=dtype,
        )

    def forward(self, features: Tensor) -> Tensor:
        """Capsules of the feature maps.

        Args:
            features: ``[B, in_channels, H, W]``, dtype of the parameters (or any, under autocast).

        Returns:
            ``[B, H' * W' * types, size]`` with H' and W' the sizes that the convolution leaves.
        """
        if not isinstance(features, Tensor):
            return self._node("features", features)
        checks.rank("features", checks.floating("features", features), "B, C, H, W")
        maps = self.conv(features)  # [B, types * size, H', W']
        # Channels last and split into types, [B, H', W', types, size]; then positions and types are one axis.
        capsules = maps.permute(0, 2, 3, 1).unflatten(3, (self.types, self.size)).flatten(1, 3)
        return squash(capsules, self.eps)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"types={self.types}, size={self.size}, eps={self.eps}"


@traceable
def primary_poses(
    maps: Tensor, types: int, eps: float = 1e-8, kind: str = "standard", constant: float | None = None
) -> Tensor:
    """Groups the channels of feature maps into poses and squashes each.

    What :class:`~capsroute.nn.PrimaryCapsules` does to the maps of its convolution, with the grid kept for a
    convolutional capsule layer.

    Args:
        maps: ``[B, types * d, *space]``, any floating-point dtype.
        types: Capsule types, C; a capsule is a group of d consecutive channels at one position.
        eps: Of the squash; see :func:`~capsroute.nn.squash`.
        kind: Of the squash.
        constant: Of the squash.

    Returns:
        ``[B, types, d, *space]``.

    Raises:
        TypeError: ``maps`` is not a floating-point tensor.
        ValueError: The channels are no multiple of ``types``, or an argument of the squash is not allowed.
    """
    (types,) = checks.at_least_one(types=types)
    checks.floating("maps", maps)
    if maps.dim() < 2 or maps.shape[1] % types:
        raise ValueError(f"maps must have a multiple of types={types} channels, got the shape {list(maps.shape)}")
    poses = maps.unflatten(1, (types, maps.shape[1] // types)).movedim(2, -1)  # [B, C, *space, d]
    # Counted from the front: the older ONNX exporter takes a source of -1 for itself.
    return squash(poses, eps, kind, constant).movedim(maps.dim(), 2)
