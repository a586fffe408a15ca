"""Losses of capsule networks."""

from math import prod

import torch
from torch import Tensor, nn

from capsroute.nn import targets
from capsroute.routing import checks
from capsroute.routing.proxies import traceable

__all__ = ["MarginLoss", "margin_loss"]


def _constants(positive_margin: float, negative_margin: float, absent_weight: float) -> tuple[float, float, float]:
    """The three numbers of the loss as plain ones."""
    expected = "a finite number of at least 0"
    return (
        checks.number("positive_margin", positive_margin, expected, or_equal=True),
        checks.number("negative_margin", negative_margin, expected, or_equal=True),
        checks.number("absent_weight", absent_weight, expected, or_equal=True),
    )


@traceable
def margin_loss(
    lengths: Tensor,
    target: Tensor,
    positive_margin: float = 0.9,
    negative_margin: float = 0.1,
    absent_weight: float = 0.5,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Margin loss for digit existence, Sabour et al. 2017, equation 4.

    ``L_j = T_j max(0, m+ - |v_j|)^2 + lambda (1 - T_j) max(0, |v_j| - m-)^2``, summed over the classes and averaged
    over the batch, and over the positions where there are any. Several classes may be present at once.

    Args:
        lengths: Capsule lengths, ``[B, J]``, or ``[B, J, H, W]`` or ``[B, J, D, H, W]`` of a segmentation; floating
            point, and half types are computed in float32.
        target: Class numbers ``[B]`` (int64), or presence ``[B, J]`` of 0 and 1 (bool or any real dtype); with
            ``[B, H, W]`` or ``[B, J, H, W]`` likewise. Class numbers are short for presence of one class.
        positive_margin: ``m+``, the length from which on a present class costs nothing.
        negative_margin: ``m-``, the length up to which an absent class costs nothing.
        absent_weight: ``lambda``, weight of the absent classes.
        reduction: ``"mean"`` over the batch, or ``"none"``, for weights of one's own for each image.

    Returns:
        Scalar; 0 for an empty batch. With ``reduction="none"``, ``[B]``.

    Raises:
        TypeError: ``lengths`` is not floating point, or ``target`` is no tensor, or class numbers are not int64.
        ValueError: ``lengths`` has another shape, ``target`` has neither of its two or another device, a class is not
            from 0 to J - 1, or presence is not 0 or 1, or
            ``reduction`` is unknown. On a GPU a wrong value ends in an assertion of the device;
            inside ``torch.compile`` values are not checked.
    """
    positive_margin, negative_margin, absent_weight = _constants(positive_margin, negative_margin, absent_weight)
    checks.dense("target", target)
    if checks.floating("lengths", lengths).dim() not in (2, 4, 5):
        # [B, H, W], one object without an axis of classes, would pass for [B, J] at W positions.
        raise ValueError(
            f"lengths must have the shape [B, J], [B, J, H, W] or [B, J, D, H, W], got {list(lengths.shape)}; "
            "unsqueeze(1) gives those of one class, and its target, their axis J"
        )
    checks.choice("reduction", reduction, ("mean", "none"))
    if lengths.dtype in (torch.float16, torch.bfloat16):
        lengths = lengths.float()
    present = targets.presence("target", target, "lengths", lengths).to(lengths.dtype)
    missed = torch.relu(positive_margin - lengths).square()
    imagined = torch.relu(lengths - negative_margin).square()
    per_class = present * missed + absent_weight * (1 - present) * imagined
    if reduction == "none":
        each = per_class.flatten(2).mean(2) if lengths.dim() > 2 else per_class
        return each.sum(dim=1)
    total = per_class.sum().unsqueeze(0)  # torch cannot divide a scalar that is mapped by a vmap over nothing
    return (total / max(lengths.shape[0] * prod(lengths.shape[2:]), 1)).squeeze(0)


class MarginLoss(nn.Module):
    """Module form of :func:`margin_loss`, with the constants of the paper.

    Args:
        positive_margin: ``m+``, the length from which on a present class costs nothing.
        negative_margin: ``m-``, the length up to which an absent class costs nothing.
        absent_weight: ``lambda``, weight of the absent classes.
    """

    def __init__(self, positive_margin: float = 0.9, negative_margin: float = 0.1, absent_weight: float = 0.5) -> None:
        super().__init__()
        constants = _constants(positive_margin, negative_margin, absent_weight)
        self.positive_margin, self.negative_margin, self.absent_weight = constants

    def forward(self, lengths: Tensor, target: Tensor) -> Tensor:
        """``lengths`` ``[B, J]`` and ``target`` ``[B]`` or ``[B, J]``, or with positions, to a scalar."""
        return margin_loss(lengths, target, self.positive_margin, self.negative_margin, self.absent_weight)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return (
            f"positive_margin={self.positive_margin}, negative_margin={self.negative_margin}, "
            f"absent_weight={self.absent_weight}"
        )
