"""Learning rates over the steps of a run."""

from __future__ import annotations

import math

import pytest
import torch

from capsroute.training import TrainConfig
from capsroute.training.loop.schedule import make_scheduler

STEPS_PER_EPOCH = 5


def rates(**changes):
    """The rate of each step of a run of four epochs."""
    config = TrainConfig(epochs=4, lr=0.1, **changes)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=config.lr)
    scheduler = make_scheduler(optimizer, config, STEPS_PER_EPOCH)
    found = []
    for _ in range(4 * STEPS_PER_EPOCH):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("warmup", [0, 4])
def test_exponential(warmup):
    expected = [0.1 * min(1, (step + 1) / (warmup + 1)) * 0.5 ** (step / 5) for step in range(20)]
    assert rates(lr_decay=0.5, warmup=warmup) == pytest.approx(expected)


@pytest.mark.parametrize("warmup", [0, 3])
def test_cosine_ends_near_zero(warmup):
    warm = [min(1, (step + 1) / (warmup + 1)) for step in range(20)]
    expected = [0.05 * factor * (1 + math.cos(math.pi * step / 20)) for step, factor in enumerate(warm)]
    assert rates(schedule="cosine", warmup=warmup) == pytest.approx(expected)
