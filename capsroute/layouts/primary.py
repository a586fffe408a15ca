"""Primary capsules that are neighbours in memory."""

import torch
from torch import Tensor, nn

from capsroute.nn import activations
from capsroute.nn.conv_windows import conv_sizes
from capsroute.routing import checks

__all__ = ["FlatPrimaryCapsules"]


class FlatPrimaryCapsules(nn.Module):
    """Convolution whose output is cut, as it lies in memory, into capsules, and squashed.

    Several public networks group so (XifengGuo/CapsNet-Pytorch, danielhavir/capsule-network). A capsule then holds
    neighbouring *positions* of one channel, and where ``size`` does not divide the positions of a map, some capsules
    lie across two channels. :class:`capsroute.nn.PrimaryCapsules` groups channels at one position, as the paper does,
    and no reordering of weights turns one into the other. Put this module into the place of ``CapsNet.primary`` to run
    what was trained so. Its convolution has another name there, so that neither loads the other's weights.

    Args:
        in_channels: Channels of the feature maps.
        out_channels: Channels of the convolution.
        size: Components of a capsule, d.
        kernel_size: Of the convolution.
        stride: Of the convolution.
        padding: Of the convolution.
        squash: Its kind: see :func:`capsroute.dynamic_routing`.
        eps: Of the squash.
        device: Of the parameters.
        dtype: Of the parameters.

    Raises:
        ValueError: ``size`` is below 1, or ``squash`` is unknown.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        size: int = 8,
        kernel_size: int = 9,
        stride: int = 2,
        padding: int = 0,
        *,
        squash: str = "standard",
        eps: float = 1e-8,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        in_channels, out_channels, self.size = checks.at_least_one(
            in_channels=in_channels, out_channels=out_channels, size=size
        )
        self.options = checks.keyword_options({"squash": squash, "eps": eps})
        self.flat_conv = nn.Conv2d(
            in_channels,
            out_channels,
            **conv_sizes(kernel_size, stride, padding),
            device=device,
            dtype=dtype,
        )

    def forward(self, features: Tensor) -> Tensor:
        """Capsules of the feature maps.

        Args:
            features: ``[B, in_channels, H, W]``, dtype of the parameters (or any, under autocast).

        Returns:
            ``[B, out_channels * H' * W' / size, size]`` with H' and W' the sizes that the convolution leaves.

        Raises:
            TypeError: ``features`` is not a dense floating-point tensor.
            ValueError: ``size`` does not divide ``out_channels * H' * W'``.
        """
        flat = self.flat_conv(checks.floating("features", features)).flatten(1)
        if flat.shape[1] % self.size != 0:
            raise ValueError(f"size must divide the {flat.shape[1]} outputs of the convolution, got {self.size}")
        return activations.squash(flat.unflatten(1, (-1, self.size)), self.options.eps, self.options.squash)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"size={self.size}, squash={self.options.squash!r}, eps={self.options.eps}"
