"""What is minimised, and what counts as correct."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from capsroute.models import CapsNetOutput
from capsroute.nn import margin_loss, targets
from capsroute.training.config import TrainConfig

__all__ = ["Classification", "NetworkOutput", "Objective", "cross_entropy", "objective_for", "training_loss"]


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
        """Loss, a scalar that is a mean over the batch, and which images were right, bool ``[B]``.

        Or the share of each image that was right, float ``[B]``: the mean over images is reported as accuracy.
        """


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Of a softmax with class numbers ``[B]``; of a sigmoid for each class, summed over them, with presence ``[B, J]``.

    Args:
        scores: ``[B, J]``, before softmax or sigmoid.
        labels: As :func:`capsroute.nn.margin_loss` takes its target, and refuses it.

    Returns:
        Scalar, a mean over the batch.
    """
    present = targets.presence("labels", labels, "scores", scores)
    if labels.dim() == 1:
        return nn.functional.cross_entropy(scores, labels)
    return nn.functional.binary_cross_entropy_with_logits(scores, present.to(scores.dtype)) * scores.shape[1]


@dataclass(frozen=True)
class Classification:
    """One class per image, or several: the loss of the scores, plus the scaled down error of the reconstruction.

    Sabour et al. 2017, sections 3 and 4.1. While the network trains, it reconstructs from the true class, else from the
    predicted one. Labels that are presence ``[B, J]`` say of each class whether it is there. Then the network is given
    them for its reconstruction in tests too, as the longest capsule is one of several; and a class is said to be there
    where its score is above ``present_above``.

    Args:
        criterion: Of scores ``[B, J]`` and labels ``[B]``, int64, or ``[B, J]``; a mean over the batch.
        reconstruction_weight: Factor on the squared error, summed over the pixels and averaged over the batch.
        present_above: Of the scores; by default the middle between the two margins of the margin loss.
        per_label: What the accuracy is with presence: the share of all labels that are right, or, by default, the share
            of images of which all labels are.
    """

    criterion: Callable[[Tensor, Tensor], Tensor]
    reconstruction_weight: float
    present_above: float = 0.5
    per_label: bool = False

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and correctness for images ``[B, channels, H, W]`` in [0, 1] and labels ``[B]`` or ``[B, J]``."""
        output = model(images, labels if model.training or labels.dim() == 2 else None)
        return self.loss(output, images, labels), self.correct(output.scores, labels)

    def correct(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Which images were right, bool ``[B]``, or with ``per_label`` the share of each, float ``[B]``."""
        if labels.dim() == 1:
            return scores.argmax(dim=1) == labels
        right = (scores > self.present_above) == labels.bool()
        return right.float().mean(dim=1) if self.per_label else right.all(dim=1)

    def loss(self, output: NetworkOutput, images: Tensor, labels: Tensor) -> Tensor:
        """The loss alone, of an output that is there; a scalar, of at least float32."""
        loss = self.criterion(_at_least_single(output.scores), labels)
        if output.reconstruction is not None:
            error = (_at_least_single(output.reconstruction) - images).square().sum() / len(images)
            loss = loss + self.reconstruction_weight * error
        return loss


def _at_least_single(values: Tensor) -> Tensor:
    """Half types as float32."""
    return values.float() if values.element_size() < 4 else values


def objective_for(config: TrainConfig) -> Classification:
    """What the network of a configuration minimises."""
    if config.network == "pooling-cnn":  # a score of 0 is a probability of one half
        return Classification(cross_entropy, config.reconstruction_weight, present_above=0.0)
    return Classification(margin_loss, config.reconstruction_weight)


def training_loss(output: CapsNetOutput, images: Tensor, labels: Tensor, reconstruction_weight: float) -> Tensor:
    """The loss of a capsule network.

    Args:
        output: Output of the network, its reconstruction maybe None.
        images: ``[B, channels, H, W]``, values in [0, 1].
        labels: True classes, ``[B]``, int64, or presence ``[B, J]``.
        reconstruction_weight: As in :class:`Classification`.

    Returns:
        Scalar, of at least float32.
    """
    return Classification(margin_loss, reconstruction_weight).loss(output, images, labels)
