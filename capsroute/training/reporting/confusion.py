"""What a network says of each class, counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from capsroute.training.datasets import Images
from capsroute.training.loop.objective import NetworkOutput

__all__ = ["Score", "confusion", "scores", "scores_table"]

Score = dict[str, float]
"""``precision``, ``recall`` and ``f1`` of a class; 0 where there is nothing to divide by."""

_BATCH = 250
_LISTED = 20  # classes in a table; of more, those of the lowest F1


def confusion(
    network: Callable[..., NetworkOutput], images: Images, classes: int, device: torch.device
) -> list[list[int]]:
    """Images by true class and by the class that a network on a device predicts: rows and columns.

    One pass over images with labels ``[N]``, by this process alone.
    """
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    with torch.no_grad():
        for start in range(0, len(images), _BATCH):
            batch, labels = images.batch(slice(start, start + _BATCH))
            predicted = network(batch.to(device), reconstruct=False).scores.argmax(dim=1).cpu()
            counts += torch.bincount(classes * labels.cpu() + predicted, minlength=classes**2).view(classes, classes)
    return counts.tolist()


def scores(matrix: Sequence[Sequence[int]]) -> list[Score]:
    """Precision, recall and F1 of each class, from a matrix of true (rows) and predicted (columns) classes."""
    counts = torch.tensor(matrix, dtype=torch.float64)
    right = counts.diagonal()
    precision, recall = _share(right, counts.sum(dim=0)), _share(right, counts.sum(dim=1))
    f1 = _share(2 * precision * recall, precision + recall)
    named = zip(precision.tolist(), recall.tolist(), f1.tolist(), strict=True)
    return [{"precision": p, "recall": r, "f1": f} for p, r, f in named]


def scores_table(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Lines for a terminal: precision, recall, F1 and test images of each class, or of the 20 of the lowest F1."""
    rows = list(zip(names, scores(matrix), map(sum, matrix), strict=True))
    shown = rows if len(rows) <= _LISTED else sorted(rows, key=lambda row: row[1]["f1"])[:_LISTED]
    width = max(len("class"), *(len(name) for name, *_ in shown))
    lines = [f"{'class':{width}}  precision  recall      f1  test images"]
    for name, score, count in shown:
        lines.append(
            f"{name:{width}}  {score['precision']:9.4f}  {score['recall']:6.4f}  {score['f1']:6.4f}  {count:11,}"
        )
    if len(shown) < len(rows):
        lines.append(f"and {len(rows) - len(shown):,} classes of a higher f1")
    return "\n".join(lines)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.clamp_min(1e-12), 0.0)
