"""What a network says of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from capsroute.inference.images import InputImage
from capsroute.routing import checks
from capsroute.training.errors import TrainingError

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True)
class Prediction:
    """What a network says of an image.

    Args:
        image: The image.
        label: Predicted class, from 0: the one of the largest score.
        scores: ``[classes]``, float32, on the CPU: the lengths of the class capsules, or the scores of another network.
        reconstruction: ``[channels, H, W]`` in [0, 1], on the CPU, from the predicted class; None where none was asked
            for or there is no decoder.
    """

    image: InputImage
    label: int
    scores: Tensor
    reconstruction: Tensor | None


def predict(
    network: nn.Module, images: Sequence[InputImage], *, batch_size: int = 64, reconstruct: bool = False
) -> Iterator[Prediction]:
    """Classifies images, in batches.

    Args:
        network: In eval mode, on any device and in any floating type.
        images: All of the shape that the network takes.
        batch_size: Images per batch, at least 1.
        reconstruct: Whether to run the decoder, if there is one.

    Yields:
        A prediction for each image, in their order.

    Raises:
        TrainingError: A score is not finite.
    """
    batch_size = checks.whole("batch_size", batch_size)
    like = next(network.parameters())
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        batch = torch.stack([image.pixels for image in part]).to(device=like.device, dtype=like.dtype)
        with torch.inference_mode():
            output = network(batch, reconstruct=reconstruct)
        scores = output.scores.float().cpu()  # [B, classes]
        labels = scores.argmax(dim=1).tolist()
        for row, image in enumerate(part):
            if not scores[row].isfinite().all():
                raise TrainingError(
                    f"the network gives {image.path} scores that are no numbers: its weights are broken"
                )
            pixels = None if output.reconstruction is None else output.reconstruction[row].float().cpu()
            yield Prediction(image, labels[row], scores[row], pixels)
