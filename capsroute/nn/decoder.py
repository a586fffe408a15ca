"""Reconstruction of the input from its capsules."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from capsroute.nn import targets
from capsroute.nn.activations import capsule_lengths
from capsroute.nn.conv_windows import batch
from capsroute.nn.leaf import Leaf
from capsroute.routing import checks, dispatch

__all__ = ["ReconstructionDecoder"]


class ReconstructionDecoder(Leaf):
    """Fully connected decoder of the paper (Sabour et al. 2017, section 4.1 and figure 2).

    All capsules but one, or but those of the classes that are present, are set to 0; the rest is decoded by linear
    layers with ReLU, the last with a sigmoid.

    Args:
        capsules: Number of capsules, J.
        size: Components of a capsule, D.
        image_shape: ``(channels, height, width)`` of the images.
        hidden: Widths of the hidden layers, 512 and 1024 in the paper.
        device: Of the parameters.
        dtype: Of the parameters.
    """

    def __init__(
        self,
        capsules: int,
        size: int,
        image_shape: Sequence[int],
        hidden: Sequence[int] = (512, 1024),
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        capsules, size = checks.at_least_one(capsules=capsules, size=size)
        self.image_shape = checks.wholes("image_shape", image_shape)
        if len(self.image_shape) != 3:
            raise ValueError(f"image_shape must be (channels, height, width), each at least 1, got {self.image_shape}")
        self.capsules, self.size = capsules, size
        widths = (capsules * size, *checks.wholes("hidden", hidden))
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            layers += [nn.Linear(width_in, width_out, device=device, dtype=dtype), nn.ReLU()]
        layers += [nn.Linear(widths[-1], prod(self.image_shape), device=device, dtype=dtype), nn.Sigmoid()]
        self.layers = nn.Sequential(*layers)

    def forward(self, capsules: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decodes the capsule of one class per sample, or those of several together.

        Args:
            capsules: ``[B, J, D]``.
            labels: The capsule to decode, ``[B]``, int64 (the true class, in training); or presence ``[B, J]``, 0 or 1
                for each class, bool or of any real dtype: the capsules of all classes that are present make one image.
                Without labels, the longest. To draw each of several classes alone, as in section 6 of the paper, call
                this once for each with its class numbers.

        Returns:
            Images ``[B, channels, height, width]`` with values in [0, 1].

        Raises:
            TypeError: ``labels`` is no tensor, or class numbers are not int64.
            ValueError: ``capsules`` has another shape; or ``labels`` has neither of its two, is on another device,
                names a class that there is not, or has presence that is not 0 or 1; see
                :func:`capsroute.nn.margin_loss` about GPUs.
        """
        if not isinstance(capsules, Tensor):
            return self._node("capsules", capsules, labels=labels)
        checks.floating("capsules", capsules)
        traced = dispatch.is_written_down()  # then sizes are no numbers
        if capsules.dim() != 3 or (not traced and capsules.shape[1:] != (self.capsules, self.size)):
            expected = f"[B, {self.capsules}, {self.size}]"
            raise ValueError(f"capsules must have the shape {expected}, got {list(capsules.shape)}")
        if labels is None:
            labels = capsule_lengths(capsules).argmax(dim=1)
        chosen = targets.presence("labels", labels, "capsules", capsules[:, :, 0]).unsqueeze(-1)  # [B, J, 1]
        kept = torch.where(chosen, capsules, 0)
        return self.layers(kept.flatten(1)).reshape(batch(kept.shape[0]), *self.image_shape)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"image_shape={self.image_shape}"
