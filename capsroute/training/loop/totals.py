"""Running sums of loss and accuracy."""

import torch
from torch import Tensor

from capsroute.training.parallel.ranks import Ranks

__all__ = ["Totals"]


class Totals:
    """Sums over images, kept on the device so that adding a batch does not wait for it.

    Args:
        device: Where the network runs.
        ranks: Whose images are summed.
    """

    def __init__(self, device: torch.device, ranks: Ranks) -> None:
        self.values = torch.zeros(3, dtype=torch.float64, device=device)
        """Sum of the losses, images classified correctly, images; of this rank."""
        self._ranks = ranks

    def add(self, loss: Tensor, correct: Tensor) -> None:
        """Adds a batch: its mean loss, and which images were right, bool ``[B]``, or the share of each that was."""
        count = torch.tensor(len(correct), dtype=torch.float64, device=self.values.device)
        self.values += torch.stack([loss.detach().double() * count, correct.double().sum(), count])

    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy over the images of all ranks, which all must ask."""
        loss, correct, count = self._ranks.sum(self.values).tolist()
        return loss / count, correct / count

    def loss(self) -> float:
        """Sum of the losses of all ranks, which all must ask; 0 where nothing was added."""
        return float(self._ranks.sum(self.values)[0])

    def collect(self) -> None:
        """Moves the sums of all ranks to rank 0, for its checkpoint."""
        total = self._ranks.sum(self.values)
        self.values.copy_(total if self._ranks.main else torch.zeros_like(total))

    def load(self, values: Tensor) -> None:
        """Restores the sums that rank 0 had collected."""
        self.values.copy_(values if self._ranks.main else torch.zeros_like(values))

    def reset(self) -> None:
        """Starts again from nothing."""
        self.values.zero_()
