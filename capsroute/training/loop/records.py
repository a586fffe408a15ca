"""What a running training tells to whoever shows or stores it."""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["EpochRecord", "Observer", "StepRecord"]


@dataclass(frozen=True)
class StepRecord:
    """Means over the steps since the last such record.

    Args:
        epoch: Current epoch, from 1.
        step: Steps done since the start of the run.
        loss: Mean training loss.
        accuracy: Share of training images classified correctly.
        images_per_second: Training speed.
        learning_rate: Learning rate after the last step, which the next one is going to take.
    """

    epoch: int
    step: int
    loss: float
    accuracy: float
    images_per_second: float
    learning_rate: float


@dataclass(frozen=True)
class EpochRecord:
    """Means over an epoch.

    Args:
        epoch: Epoch that ended, from 1.
        step: Steps done since the start of the run.
        loss: Mean training loss.
        accuracy: Share of training images classified correctly.
        test_loss: Mean loss on the test set.
        test_accuracy: Share of test images classified correctly.
        images_per_second: Training speed, without the test.
        seconds: Duration with the test; of an epoch that was interrupted, since it was resumed.
    """

    epoch: int
    step: int
    loss: float
    accuracy: float
    test_loss: float
    test_accuracy: float
    images_per_second: float
    seconds: float


class Observer(Protocol):
    """Shows or stores the progress of a run."""

    def on_step(self, record: StepRecord) -> None:
        """Called every few steps and after the last of an epoch."""

    def on_epoch(self, record: EpochRecord) -> None:
        """Called at the end of an epoch, before its checkpoint."""
