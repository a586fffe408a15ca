"""What is minimised."""

from torch import Tensor

from capsroute.models import CapsNetOutput
from capsroute.nn import margin_loss

__all__ = ["training_loss"]


def training_loss(output: CapsNetOutput, images: Tensor, labels: Tensor, reconstruction_weight: float) -> Tensor:
    """Margin loss plus the scaled down error of the reconstruction (Sabour et al. 2017, sections 3 and 4.1).

    Args:
        output: Output of the network, its reconstruction maybe None.
        images: ``[B, channels, H, W]``, values in [0, 1].
        labels: True classes, ``[B]``, int64.
        reconstruction_weight: Factor on the squared error, summed over the pixels and averaged over the batch.

    Returns:
        Scalar, float32.
    """
    loss = margin_loss(output.lengths, labels)
    if output.reconstruction is not None:
        error = (output.reconstruction.float() - images).square().sum() / len(images)
        loss = loss + reconstruction_weight * error
    return loss
