"""A linear probe: what can be read from features by a linear map."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["probe_r2"]


def probe_r2(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], ridge: float = 1e-3) -> float:
    """How much of a target's variance ridge regression explains on features that it was not fitted to.

    Args:
        train: Features ``[N, F]`` and targets ``[N, K]`` to fit.
        test: The same to judge by.
        ridge: Weight of the squared coefficients, relative to the mean variance of the features.

    Returns:
        R², the mean over the targets: 1 for a perfect reading, 0 for one no better than the mean.
    """
    features, targets = (part.double() for part in train)
    centre, mean = features.mean(0), targets.mean(0)
    centred = features - centre
    gram = centred.T @ centred
    penalty = ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    weights = torch.linalg.solve(gram + penalty, centred.T @ (targets - mean))
    features, targets = (part.double() for part in test)
    error = (features - centre) @ weights + mean - targets
    return float((1 - error.square().sum(0) / (targets - targets.mean(0)).square().sum(0)).mean())
