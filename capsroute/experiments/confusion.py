"""What a network says of each class, counted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from capsroute.experiments.context import batches
from capsroute.training.datasets import Images
from capsroute.training.loop.trainer import Trainer

__all__ = ["Score", "confusion", "scores"]

Score = dict[str, float]
"""``precision``, ``recall`` and ``f1`` of a class; 0 where there is nothing to divide by."""


def confusion(trainer: Trainer, images: Images, classes: int) -> list[list[int]]:
    """Images by true class and by the class that a trained network predicts: rows and columns."""
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    with torch.no_grad():
        for batch, labels in batches(images, trainer.device):
            predicted = trainer.model(batch, reconstruct=False).scores.argmax(dim=1)
            counts += torch.bincount(classes * labels + predicted, minlength=classes**2).view(classes, classes).cpu()
    return counts.tolist()


def scores(matrix: Sequence[Sequence[int]]) -> list[Score]:
    """Precision, recall and F1 of each class, from a matrix of true (rows) and predicted (columns) classes."""
    counts = torch.tensor(matrix, dtype=torch.float64)
    right = counts.diagonal()
    precision, recall = _share(right, counts.sum(dim=0)), _share(right, counts.sum(dim=1))
    f1 = _share(2 * precision * recall, precision + recall)
    named = zip(precision.tolist(), recall.tolist(), f1.tolist(), strict=True)
    return [{"precision": p, "recall": r, "f1": f} for p, r, f in named]


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.clamp_min(1e-12), 0.0)
