"""The learning rate over the steps of a run."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, LRScheduler

from capsroute.training.config import TrainConfig

__all__ = ["make_scheduler"]


def make_scheduler(optimizer: Optimizer, config: TrainConfig, steps_per_epoch: int) -> LRScheduler:
    """The schedule of a configuration, to be stepped after each step of an optimizer that begins with its rate."""
    gamma = config.lr_decay ** (1 / steps_per_epoch)
    if config.schedule == "exponential" and config.warmup == 0:
        return ExponentialLR(optimizer, gamma=gamma)  # the recurrence of the first checkpoints, bit for bit

    def factor(step: int) -> float:
        warm = min(1.0, (step + 1) / (config.warmup + 1))
        if config.schedule == "cosine":
            return warm * (1 + math.cos(math.pi * min(1.0, step / (config.epochs * steps_per_epoch)))) / 2
        return float(warm * gamma**step)

    return LambdaLR(optimizer, factor)
