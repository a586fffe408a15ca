"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from capsroute.training.batches import ShuffledBatches
from capsroute.training.config import TrainConfig
from capsroute.training.datasets import Dataset, Images
from capsroute.training.errors import TrainingError
from capsroute.training.objective import Objective, objective_for
from capsroute.training.records import EpochRecord, Observer, StepRecord
from capsroute.training.totals import Totals

__all__ = ["Trainer"]


class Trainer:
    """Trains a network, can stop after any step, and can go on from there bit for bit.

    Args:
        model: Network, on ``device``.
        config: Configuration of the run.
        data: Training set and test set.
        device: Where the network runs.
        log_every: Steps between two :class:`StepRecord`.
        objective: What is minimised; None for what suits the network of the configuration.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        data: Dataset,
        device: torch.device,
        log_every: int = 10,
        objective: Objective | None = None,
    ) -> None:
        self.model = model
        self.objective = objective or objective_for(config)
        self.config = config
        self.data = data
        self.device = device
        self.log_every = log_every
        self.epoch = 0
        """Epochs done."""
        self.test_accuracy = math.nan
        """After the last epoch done."""
        self.stop_requested = False
        """Set it, from anywhere, to make :meth:`fit` stop after the current step."""
        self.batches = ShuffledBatches(data.train, config.batch_size, config.shift, config.seed)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(
            self.optimizer, gamma=config.lr_decay ** (1 / len(self.batches))
        )
        self._epoch_totals = Totals(device)
        self._recent_totals = Totals(device)

    @property
    def step(self) -> int:
        """Steps done since the start of the run."""
        return self.epoch * len(self.batches) + self.batches.position

    def fit(self, observers: Sequence[Observer], save: Callable[[], None]) -> bool:
        """Trains up to the number of epochs of the configuration.

        Args:
            observers: Told about the progress.
            save: Writes a checkpoint; called after each epoch and when the training stops before its end.

        Returns:
            False where :attr:`stop_requested` ended the training early.

        Raises:
            TrainingError: The loss is not finite any more.
        """
        while self.epoch < self.config.epochs:
            if not self._run_epoch(observers):
                save()
                return False
            save()
        return True

    def evaluate(self, images: Images | None = None) -> tuple[float, float] | None:
        """Mean loss and accuracy, or None where a stop was requested meanwhile.

        Args:
            images: What to test on; None for the test set.
        """
        tested = self.data.test if images is None else images
        totals = Totals(self.device)
        self.model.eval()
        with torch.no_grad():
            for start in range(0, len(tested), self.config.batch_size):
                if self.stop_requested:
                    return None
                totals.add(*self._judge(tested.batch(slice(start, start + self.config.batch_size))))
        loss_mean, accuracy, _ = totals.means()
        return loss_mean, accuracy

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint, in the middle of an epoch too."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "batches": self.batches.state_dict(),
            "epoch": self.epoch,
            "test_accuracy": self.test_accuracy,
            "epoch_totals": self._epoch_totals.values,
            "recent_totals": self._recent_totals.values,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.batches.load_state_dict(state["batches"])
        self.epoch = state["epoch"]
        self.test_accuracy = state["test_accuracy"]
        self._epoch_totals.values.copy_(state["epoch_totals"])
        self._recent_totals.values.copy_(state["recent_totals"])

    def _run_epoch(self, observers: Sequence[Observer]) -> bool:
        """Trains what is left of an epoch and tests; False where a stop was requested before its end."""
        began = perf_counter()
        self.model.train()
        clock = _Clock()
        for batch in self.batches.rest_of_epoch():
            clock.count(self._train_step(batch))
            if self.step % self.log_every == 0 or self.batches.position == len(self.batches):
                self._report_step(observers, clock)
            if self.stop_requested:
                return False
        evaluation = self.evaluate()
        if evaluation is None:
            return False
        test_loss, self.test_accuracy = evaluation
        loss, accuracy, _ = self._epoch_totals.means()
        step = self.step
        self.epoch += 1
        self.batches.end_epoch()
        self._epoch_totals.reset()
        record = EpochRecord(
            self.epoch,
            step,
            loss,
            accuracy,
            test_loss,
            self.test_accuracy,
            clock.total_rate(),
            perf_counter() - began,
        )
        for observer in observers:
            observer.on_epoch(record)
        return True

    def _train_step(self, batch: tuple[Tensor, Tensor]) -> int:
        """One step of the optimizer; returns the number of images."""
        self.optimizer.zero_grad(set_to_none=True)
        loss, correct = self._judge(batch)
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        for totals in (self._epoch_totals, self._recent_totals):
            totals.add(loss, correct)
        return len(correct)

    def _judge(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Loss and correctness of a batch, by the network as it is."""
        images, labels = batch
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.amp):
            return self.objective(self.model, images.to(self.device), labels.to(self.device))

    def _report_step(self, observers: Sequence[Observer], clock: _Clock) -> None:
        loss, accuracy, _ = self._recent_totals.means()
        self._recent_totals.reset()
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss} in step {self.step}: try a smaller --lr")
        learning_rate = float(self.scheduler.get_last_lr()[0])
        record = StepRecord(self.epoch + 1, self.step, loss, accuracy, clock.recent_rate(), learning_rate)
        for observer in observers:
            observer.on_step(record)


class _Clock:
    """Images per second, in total and since they were last asked for."""

    def __init__(self) -> None:
        self._began = self._asked = perf_counter()
        self._images = self._recent = 0

    def count(self, images: int) -> None:
        self._images += images
        self._recent += images
        self._last = perf_counter()

    def total_rate(self) -> float:
        if self._images == 0:  # resumed after the last step of an epoch
            return 0.0
        return self._images / (self._last - self._began)

    def recent_rate(self) -> float:
        now = perf_counter()
        rate = self._recent / (now - self._asked)
        self._asked, self._recent = now, 0
        return rate
