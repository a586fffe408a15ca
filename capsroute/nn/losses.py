"""Losses of capsule networks."""

import torch
from torch import Tensor, nn

__all__ = ["MarginLoss", "margin_loss"]


def _presence(lengths: Tensor, target: Tensor) -> Tensor:
    """Targets as ``[B, J]`` of 0 and 1, from class numbers ``[B]`` or from a multi-hot ``[B, J]``."""
    if target.shape == lengths.shape:
        return target.to(lengths.dtype)
    if target.shape != lengths.shape[:1]:
        raise ValueError(
            f"target must have the shape [B] (class numbers) or [B, J] (presence), with lengths of shape "
            f"{list(lengths.shape)}; got {list(target.shape)}"
        )
    if target.dtype != torch.int64:
        raise TypeError(f"target of shape [B] must hold class numbers of dtype torch.int64, got {target.dtype}")
    return nn.functional.one_hot(target, lengths.shape[1]).to(lengths.dtype)


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
    over the batch. Several classes may be present at once.

    Args:
        lengths: Capsule lengths, ``[B, J]``, floating point; half types are computed in float32.
        target: Class numbers ``[B]`` (int64), or presence ``[B, J]`` of 0 and 1 (any dtype).
        positive_margin: ``m+``, the length from which on a present class costs nothing.
        negative_margin: ``m-``, the length up to which an absent class costs nothing.
        absent_weight: ``lambda``, weight of the absent classes.
        reduction: ``"mean"`` over the batch, or ``"none"``, for weights of one's own for each image.

    Returns:
        Scalar; 0 for an empty batch. With ``reduction="none"``, ``[B]``.

    Raises:
        TypeError: ``lengths`` is not floating point, or class numbers are not int64.
        ValueError: ``lengths`` is not ``[B, J]``, or ``target`` has neither of the two shapes, or ``reduction`` is
            neither of the two.
    """
    if not lengths.is_floating_point():
        raise TypeError(f"lengths must be a floating-point tensor, got {lengths.dtype}")
    if lengths.dim() != 2:
        raise ValueError(f"lengths must have the shape [B, J], got {list(lengths.shape)}")
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction must be mean or none, got {reduction!r}")
    if lengths.dtype in (torch.float16, torch.bfloat16):
        lengths = lengths.float()
    present = _presence(lengths, target)
    missed = torch.relu(positive_margin - lengths).square()
    imagined = torch.relu(lengths - negative_margin).square()
    per_class = present * missed + absent_weight * (1 - present) * imagined
    if reduction == "none":
        return per_class.sum(dim=1)
    return per_class.sum() / max(lengths.shape[0], 1)


class MarginLoss(nn.Module):
    """Module form of :func:`margin_loss`, with the constants of the paper.

    Args:
        positive_margin: ``m+``, the length from which on a present class costs nothing.
        negative_margin: ``m-``, the length up to which an absent class costs nothing.
        absent_weight: ``lambda``, weight of the absent classes.
    """

    def __init__(self, positive_margin: float = 0.9, negative_margin: float = 0.1, absent_weight: float = 0.5) -> None:
        super().__init__()
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin
        self.absent_weight = absent_weight

    def forward(self, lengths: Tensor, target: Tensor) -> Tensor:
        """``lengths`` ``[B, J]`` and ``target`` ``[B]`` or ``[B, J]`` to a scalar."""
        return margin_loss(lengths, target, self.positive_margin, self.negative_margin, self.absent_weight)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return (
            f"positive_margin={self.positive_margin}, negative_margin={self.negative_margin}, "
            f"absent_weight={self.absent_weight}"
        )
