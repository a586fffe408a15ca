"""Running sums of loss and accuracy."""

import torch
from torch import Tensor

__all__ = ["Totals"]


class Totals:
    """Sums over images, kept on the device so that adding a batch does not wait for it.

    Args:
        device: Where the network runs.
    """

    def __init__(self, device: torch.device) -> None:
        self.values = torch.zeros(3, dtype=torch.float64, device=device)
        """Sum of the losses, images classified correctly, images."""

    def add(self, loss: Tensor, correct: Tensor) -> None:
        """Adds a batch: its mean loss, and which images were right, bool ``[B]``."""
        count = torch.tensor(len(correct), dtype=torch.float64, device=self.values.device)
        self.values += torch.stack([loss.detach().double() * count, correct.sum().double(), count])

    def means(self) -> tuple[float, float, int]:
        """Mean loss, accuracy, and the number of images."""
        loss, correct, count = self.values.tolist()
        return loss / count, correct / count, int(count)

    def reset(self) -> None:
        """Starts again from nothing."""
        self.values.zero_()
