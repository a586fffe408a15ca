"""What an experiment works with: its sizes, its data, and the training of its networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from capsroute.experiments.progress import Progress
from capsroute.experiments.scale import Scale
from capsroute.models import PRESETS
from capsroute.training.config import TrainConfig
from capsroute.training.datasets import Dataset, Images, ImageSet, load_mnist
from capsroute.training.loop.objective import Objective
from capsroute.training.loop.records import EpochRecord, StepRecord
from capsroute.training.loop.trainer import Trainer
from capsroute.training.networks import build_network

__all__ = ["NETWORKS", "WARMUP", "Context", "batches"]

NETWORKS = {"capsnet": "CapsNet", "pooling-cnn": "CNN with pooling"}
"""The networks that experiments compare, and what figures and tables call them."""
WARMUP = 100
"""Steps in which the learning rate rises to its height. Without them, one of three networks with pooling did not begin
to learn on the larger canvas of ``translation``."""
_BATCH = 250


def batches(images: Images, device: torch.device | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """All images and their labels in order, as many at a time as a network takes at once, on a device."""
    for start in range(0, len(images), _BATCH):
        pixels, labels = images.batch(slice(start, start + _BATCH))
        yield pixels.to(device), labels.to(device)


@dataclass(frozen=True)
class Context:
    """Given to an experiment when it runs.

    Args:
        scale: Sizes.
        device: Where networks run.
        data_dir: Folder of the data set; None for the user's cache.
        progress: Told about every training.
    """

    scale: Scale
    device: torch.device
    data_dir: Path | None
    progress: Progress

    def mnist(self) -> tuple[ImageSet, ImageSet]:
        """Training and test images, as many as the scale says.

        Raises:
            TrainingError: They are absent or broken.
        """
        data = load_mnist(self.data_dir)
        assert isinstance(data.train, ImageSet)
        assert isinstance(data.test, ImageSet)
        return self.scale.training_part(data.train), self.scale.test_part(data.test)

    def steps(self, images: int, epochs: int | None = None) -> int:
        """Steps of a training on so many images."""
        return ceil(images / self.scale.batch_size) * (epochs or self.scale.epochs)

    @property
    def learning_rate(self) -> float:
        """The same for both networks: that of the paper for its network, and a higher one for short trainings.

        Of 0.001, 0.002 and 0.003, the last was the best for either network after 626 steps of 32 images, on training
        images that they had not been trained on.
        """
        return 1e-3 if self.scale.preset == "mnist" else 3e-3

    def network_options(self, **changes: Any) -> dict[str, Any]:
        """Arguments of CapsNet: the preset of the scale, with changes."""
        return {**PRESETS[self.scale.preset], **changes}

    def config(self, seed: int, network: str = "capsnet", **changes: Any) -> TrainConfig:
        """The configuration of a training; ``changes`` are fields of :class:`~capsroute.training.TrainConfig`."""
        scale = self.scale
        return TrainConfig(
            **{
                "dataset": "mnist",
                "network": network,
                "seed": seed,
                "epochs": scale.epochs,
                "batch_size": scale.batch_size,
                "lr_decay": scale.lr_decay,
                "lr": self.learning_rate,
                **changes,
            }
        )

    def fit(
        self,
        train: Images,
        test: Images,
        config: TrainConfig,
        options: Mapping[str, Any] | None = None,
        *,
        model: nn.Module | None = None,
        objective: Objective | None = None,
    ) -> Trainer:
        """Trains a network to its last epoch; nothing is chosen by the test images, which are only watched.

        Args:
            train: Images to train on.
            test: Images to test on after each epoch.
            config: From :meth:`config`.
            options: Arguments of CapsNet on top of the preset of the scale; the network with pooling is made to match.
            model: A network to train instead, on :attr:`device`.
            objective: What is minimised, where it is not what suits the network.

        Returns:
            The trainer, whose network is in evaluation mode.
        """
        if model is None:
            model = build_network(config, self.device, **self.network_options(**(options or {})))
        trainer = Trainer(model, config, Dataset(train, test), self.device, objective=objective)
        trainer.fit([_Watcher(self.progress, NETWORKS.get(config.network, config.network))], lambda: None)
        model.eval()
        return trainer

    def accuracy(self, trainer: Trainer, images: Images) -> float:
        """Share of images that a trained network classifies correctly."""
        result = trainer.evaluate(images)
        assert result is not None  # nobody asks the trainer to stop
        return result[1]


class _Watcher:
    """Passes the progress of one training on."""

    def __init__(self, progress: Progress, network: str) -> None:
        self._progress = progress
        self._network = network
        self._step = 0

    def on_step(self, record: StepRecord) -> None:
        self._progress.advance(record.step - self._step, f"{self._network}, loss {record.loss:.3f}")
        self._step = record.step

    def on_epoch(self, record: EpochRecord) -> None:
        pass
