"""Training of the reference network on real images."""

from capsroute.training.config import DATASETS, TrainConfig, preset
from capsroute.training.errors import TrainingError
from capsroute.training.trainer import Trainer

__all__ = ["DATASETS", "TrainConfig", "Trainer", "TrainingError", "preset"]
