"""A linear probe: what can be read from features by a linear map."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["r2", "read"]


def read(features: Tensor, fitted_to: tuple[Tensor, Tensor], ridge: float = 1e-3) -> Tensor:
    """What ridge regression reads from features.

    Args:
        features: ``[N, F]``.
        fitted_to: Features ``[M, F]`` and targets ``[M, K]`` that the regression is fitted to.
        ridge: Weight of the squared coefficients, relative to the mean variance of the features.

    Returns:
        Targets as they are read, ``[N, K]``, float64.
    """
    known, targets = (part.double() for part in fitted_to)
    centre, mean = known.mean(0), targets.mean(0)
    centred = known - centre
    gram = centred.T @ centred
    penalty = ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    weights = torch.linalg.solve(gram + penalty, centred.T @ (targets - mean))
    return (features.double() - centre) @ weights + mean


def r2(readings: Tensor, targets: Tensor) -> float:
    """Share of the variance of targets that readings explain, R², the mean over the columns of both ``[N, K]``.

    1 for a perfect reading, 0 for one no better than the mean of the targets, below 0 for a worse one.
    """
    exact = targets.double()
    error = (readings - exact).square().sum(0)
    return float((1 - error / (exact - exact.mean(0)).square().sum(0)).mean())
