"""Running sums of loss and accuracy."""

import torch
from torch import Tensor

from capsroute.models import CapsNetOutput

__all__ = ["Totals"]


class Totals:
    """Sums over images, kept on the device so that adding a batch does not wait for it.

    Args:
        device: Where the network runs.
    """

    def __init__(self, device: torch.device) -> None:
        self.values = torch.zeros(3, dtype=torch.float64, device=device)
        """Sum of the losses, images classified correctly, images."""

    def add(self, loss: Tensor, output: CapsNetOutput, labels: Tensor) -> None:
        """Adds a batch with its mean loss."""
        correct = (output.lengths.argmax(dim=1) == labels).sum()
        count = torch.tensor(len(labels), dtype=torch.float64, device=self.values.device)
        self.values += torch.stack([loss.detach().double() * count, correct.double(), count])

    def means(self) -> tuple[float, float, int]:
        """Mean loss, accuracy, and the number of images."""
        loss, correct, count = self.values.tolist()
        return loss / count, correct / count, int(count)

    def reset(self) -> None:
        """Starts again from nothing."""
        self.values.zero_()
