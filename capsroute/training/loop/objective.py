"""What is minimised, and what counts as correct."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from capsroute.models import CapsNetOutput
from capsroute.nn import margin_loss
from capsroute.training.config import TrainConfig
from capsroute.training.datasets import Dataset, ImageSet
from capsroute.training.errors import TrainingError

__all__ = ["Classification", "NetworkOutput", "Objective", "balanced_weights", "objective_for", "training_loss"]

_CRITERIA: dict[str, Callable[..., Tensor]] = {
    "capsnet": margin_loss,
    "pooling-cnn": nn.functional.cross_entropy,
}


class NetworkOutput(Protocol):
    """What every network that classifies returns."""

    @property
    def scores(self) -> Tensor:
        """``[B, classes]``; the largest is the predicted class."""

    @property
    def reconstruction(self) -> Tensor | None:
        """Images in [0, 1], ``[B, channels, H, W]``."""


class Objective(Protocol):
    """Runs a network on a batch and judges what it says."""

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, a scalar that is a mean over the batch, and which images were right, bool ``[B]``."""


@dataclass(frozen=True)
class Classification:
    """One class per image: the loss of the scores, plus the scaled down error of the reconstruction.

    Sabour et al. 2017, sections 3 and 4.1. While the network trains, it reconstructs from the true class, else from the
    predicted one.

    Args:
        criterion: Of scores ``[B, classes]`` and labels ``[B]``, int64; a mean over the batch.
        reconstruction_weight: Factor on the squared error, summed over the pixels and averaged over the batch.
        class_weights: ``[classes]``, by which the loss of an image of each class is multiplied, its reconstruction left
            out; the criterion must take ``reduction="none"`` then. None for 1.
    """

    criterion: Callable[..., Tensor]
    reconstruction_weight: float
    class_weights: Tensor | None = None

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and correctness for images ``[B, channels, H, W]`` in [0, 1] and labels ``[B]``, int64."""
        output = model(images, labels if model.training else None)
        return self.loss(output, images, labels), output.scores.argmax(dim=1) == labels

    def loss(self, output: NetworkOutput, images: Tensor, labels: Tensor) -> Tensor:
        """The loss alone, of an output that is there; a scalar, of at least float32."""
        scores = _at_least_single(output.scores)
        if self.class_weights is None:
            loss = self.criterion(scores, labels)
        else:  # not divided by the sum of the weights: a batch that is taken in parts must come to the same
            weights = self.class_weights.to(scores)[labels]
            loss = (weights * self.criterion(scores, labels, reduction="none")).mean()
        if output.reconstruction is not None:
            error = (_at_least_single(output.reconstruction) - images).square().sum() / len(images)
            loss = loss + self.reconstruction_weight * error
        return loss


def _at_least_single(values: Tensor) -> Tensor:
    """Half types as float32."""
    return values.float() if values.element_size() < 4 else values


def objective_for(config: TrainConfig, data: Dataset) -> Classification:
    """What the network of a configuration minimises.

    Raises:
        TrainingError: Class weights were asked for, of images that have not one class each.
    """
    weights = balanced_weights(data) if config.class_weights == "balanced" else None
    return Classification(_CRITERIA[config.network], config.reconstruction_weight, weights)


def balanced_weights(data: Dataset) -> Tensor:
    """``[classes]``, float64: N / (classes that are there · images of the class), whose mean over the images is 1.

    A class without training images has 0.

    Raises:
        TrainingError: The training images are not in memory, or have several labels each.
    """
    labels = data.train.labels if isinstance(data.train, ImageSet) else None
    if labels is None or labels.dim() != 1:
        raise TrainingError("class_weights balanced needs training images in memory, each with one class")
    counts = torch.bincount(labels, minlength=len(data.classes)).double()
    weights = len(labels) / (counts.count_nonzero() * counts)
    return torch.where(counts > 0, weights, 0.0)


def training_loss(output: CapsNetOutput, images: Tensor, labels: Tensor, reconstruction_weight: float) -> Tensor:
    """The loss of a capsule network.

    Args:
        output: Output of the network, its reconstruction maybe None.
        images: ``[B, channels, H, W]``, values in [0, 1].
        labels: True classes, ``[B]``, int64.
        reconstruction_weight: As in :class:`Classification`.

    Returns:
        Scalar, of at least float32.
    """
    return Classification(margin_loss, reconstruction_weight).loss(output, images, labels)
