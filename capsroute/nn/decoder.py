"""Reconstruction of the input from its capsules."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from capsroute.nn.activations import capsule_lengths
from capsroute.nn.leaf import Leaf
from capsroute.nn.one_hot import one_hot

__all__ = ["ReconstructionDecoder"]


class ReconstructionDecoder(Leaf):
    """Fully connected decoder of the paper (Sabour et al. 2017, section 4.1 and figure 2).

    All capsules but one are set to 0; the rest is decoded by linear layers with ReLU, the last with a sigmoid.

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
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise ValueError(f"image_shape must be (channels, height, width), each at least 1, got {image_shape}")
        self.image_shape = tuple(image_shape)
        widths = (capsules * size, *hidden)
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            layers += [nn.Linear(width_in, width_out, device=device, dtype=dtype), nn.ReLU()]
        layers += [nn.Linear(widths[-1], prod(self.image_shape), device=device, dtype=dtype), nn.Sigmoid()]
        self.layers = nn.Sequential(*layers)

    def forward(self, capsules: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decodes one capsule per sample.

        Args:
            capsules: ``[B, J, D]``.
            labels: The capsule to decode, ``[B]``, int64 (the true class, in training); without it, the longest.

        Returns:
            Images ``[B, channels, height, width]`` with values in [0, 1].

        Raises:
            TypeError: ``labels`` is not int64.
            ValueError: ``labels`` does not have the shape ``[B]``.
        """
        if not isinstance(capsules, Tensor):
            return self._node("capsules", capsules, labels=labels)
        if labels is None:
            labels = capsule_lengths(capsules).argmax(dim=1)
        elif labels.dtype != torch.int64:
            raise TypeError(f"labels must be of dtype torch.int64, got {labels.dtype}")
        elif labels.shape != capsules.shape[:1]:
            raise ValueError(f"labels must have the shape [{capsules.shape[0]}], got {list(labels.shape)}")
        chosen = one_hot(labels, capsules.shape[1]).unsqueeze(-1)  # [B, J, 1]
        kept = torch.where(chosen, capsules, 0)
        return self.layers(kept.flatten(1)).unflatten(1, self.image_shape)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"image_shape={self.image_shape}"
