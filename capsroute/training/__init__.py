"""Training of the reference network on real images."""

from capsroute.training.config import DATASETS, TrainConfig, preset
from capsroute.training.errors import TrainingError
from capsroute.training.loop.trainer import Trainer
from capsroute.training.storage.weights import load_network, save_weights

__all__ = ["DATASETS", "TrainConfig", "Trainer", "TrainingError", "load_network", "preset", "save_weights"]
