"""The experiments by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from capsroute.training.errors import TrainingError

if TYPE_CHECKING:
    from capsroute.experiments.experiment import Experiment

__all__ = ["EXPERIMENTS", "load"]

# What each asks, in one line. The module of an experiment has its name, with underscores, and holds EXPERIMENT.
EXPERIMENTS = {
    "translation": "is a digit recognised away from where it was seen, and do poses tell where it went?",
    "little-data": "how many images of each class does a network need?",
    "reconstruct": "can an image be made again from one capsule, and can the capsule be read?",
    "routing": "does routing send parts to their whole, and what do its iterations cost and bring?",
    "scramble": "is a face known from the same parts in a wrong arrangement?",
    "overlap": "are two digits on top of each other both recognised, and can each be drawn alone?",
    "affine": "are digits seen in many places known when they are turned, sheared and scaled?",
    "affnist": "are digits of affNIST known by networks that saw digits in many places?",
    "smallnorb": "are toys known from viewpoints that were never seen?",
    "cifar10": "does a capsule network hold its own on photographs?",
}


def load(name: str) -> Experiment:
    """An experiment by name.

    Raises:
        TrainingError: There is none; the message lists those that there are.
    """
    if name not in EXPERIMENTS:
        raise TrainingError(f"NAME must be one of {', '.join(EXPERIMENTS)}; got {name}")
    module = import_module(f"capsroute.experiments.{name.replace('-', '_')}")
    experiment: Experiment = module.EXPERIMENT
    return experiment
