"""Networks of the presets, as saved files must hold them, hardly trained."""

from __future__ import annotations

import resource
from contextlib import contextmanager

import torch

from capsroute.training import TrainConfig, Trainer
from capsroute.training.networks import build_network
from python_tests.training.doubles import few_digits

CPU = torch.device("cpu")


def preset_network(**changes):
    """Configuration and network of the digits, in eval mode."""
    config = TrainConfig(**changes)
    return config, build_network(config, CPU).eval()


def preset_trainer(**changes):
    config = TrainConfig(**{"epochs": 2, "batch_size": 16, **changes})
    return Trainer(build_network(config, CPU), config, few_digits(), CPU)


@contextmanager
def no_room_for(size):
    """Within it, the system refuses to write a file beyond so many bytes, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
