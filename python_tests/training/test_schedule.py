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


def test_exponential():
    assert rates(lr_decay=0.5) == pytest.approx([0.1 * 0.5 ** (step / 5) for step in range(20)])


def test_exponential_after_a_warm_up():
    warm = [min(1, (step + 1) / 5) for step in range(20)]
    assert rates(lr_decay=0.5, warmup=4) == pytest.approx([0.1 * w * 0.5 ** (s / 5) for s, w in enumerate(warm)])


def test_cosine_ends_near_zero():
    found = rates(schedule="cosine", lr_decay=0.5)
    assert found == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 20)) for step in range(20)])
    assert found[0] == 0.1
    assert found[-1] < 0.001


def test_cosine_after_a_warm_up():
    found = rates(schedule="cosine", warmup=3)
    assert found[:3] == pytest.approx(
        [r * w for r, w in zip(rates(schedule="cosine"), (0.25, 0.5, 0.75), strict=False)]
    )
    assert found[3:] == pytest.approx(rates(schedule="cosine")[3:])
