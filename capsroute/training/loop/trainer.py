"""The training loop."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from capsroute.training.config import TrainConfig
from capsroute.training.datasets import Dataset, Images
from capsroute.training.errors import TrainingError
from capsroute.training.feeding.batches import Batch, ShuffledBatches
from capsroute.training.feeding.division import divided
from capsroute.training.feeding.loading import resident
from capsroute.training.loop.clock import Clock
from capsroute.training.loop.compilation import compiler_errors_named
from capsroute.training.loop.ema import WeightAverage
from capsroute.training.loop.objective import Objective, objective_for
from capsroute.training.loop.records import EpochRecord, Observer, StepRecord
from capsroute.training.loop.schedule import make_scheduler
from capsroute.training.loop.totals import Totals
from capsroute.training.parallel.agreement import facts_to_agree_on, weights_checksum
from capsroute.training.parallel.ranks import ALONE, Ranks

__all__ = ["Trainer"]


class Trainer:
    """Trains a network, can stop after any step, and can go on from there bit for bit.

    Args:
        model: Network, on ``device``.
        config: Configuration of the run.
        data: Training set and test set, with what is known of them. The configuration need not name it.
        device: Where the network runs.
        log_every: Steps between two :class:`~capsroute.training.loop.records.StepRecord`.
        objective: What is minimised; None for what suits the network of the configuration.
        ranks: The processes that train together. Each has a trainer with the same arguments but for the device, takes
            its part of every batch, and must call the same methods.

    Raises:
        TypeError: The data is no :class:`~capsroute.training.datasets.Dataset`.
        TrainingError: The ranks have different configurations, networks or data.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        data: Dataset,
        device: torch.device,
        log_every: int = 10,
        objective: Objective | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        if not isinstance(data, Dataset):
            raise TypeError(
                f"data must be a Dataset of training and test images, got {type(data).__name__}: make one by "
                "Dataset(train, test), or by held_out(images) from one set"
            )
        ranks.agree(facts_to_agree_on(model, config, data) if ranks.size > 1 else {})
        self.model = model
        self.objective = objective or objective_for(config, data)
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
        self.ranks = ranks
        train = resident(data.train, device)
        self._test = resident(data.test, device)
        self.batches = ShuffledBatches(
            train,
            config.batch_size,
            config.shift,
            config.seed,
            part=ranks.rank,
            parts=ranks.size,
            ahead=device.type == "cuda" and train is data.train,  # on the CPU a thread takes what it gives
        )
        self.optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
        self.scheduler = make_scheduler(self.optimizer, config, len(self.batches))
        self._average = WeightAverage(model, config.ema) if config.ema > 0 else None
        self._network: nn.Module = torch.compile(model) if config.compile else model  # type: ignore[assignment]
        self._parallel = ranks.parallel(self._network, device)
        self._dtype = next((value.dtype for value in model.parameters()), torch.float32)
        self._epoch_totals = Totals(device, ranks)
        self._recent_totals = Totals(device, ranks)

    @property
    def step(self) -> int:
        """Steps done since the start of the run."""
        return self.epoch * len(self.batches) + self.batches.position

    def fit(self, observers: Sequence[Observer], save: Callable[[], None]) -> bool:
        """Trains up to the number of epochs of the configuration.

        Args:
            observers: Told about the progress.
            save: Writes a checkpoint; called on rank 0 after each epoch and when the training stops before its end.

        Returns:
            False where :attr:`stop_requested`, of any rank, ended the training early.

        Raises:
            TrainingError: The loss or the weights are not finite any more, and nothing was saved since; the network
                cannot be compiled; or the ranks do not start from the same step and weights.
        """
        facts: dict[str, object] = {"step": self.step}
        if self.ranks.size > 1:
            facts["the checksum of the weights"] = weights_checksum(self.model)
        self.ranks.agree(facts)
        while self.epoch < self.config.epochs:
            with compiler_errors_named():
                finished = self._run_epoch(observers)
            for totals in (self._epoch_totals, self._recent_totals):
                totals.collect()
            self.ranks.on_main(save)
            if not finished:
                return False
        return True

    def evaluate(self, images: Images | None = None) -> tuple[float, float] | None:
        """Mean loss and accuracy, or None where a stop was requested meanwhile; by the averaged weights, if any.

        Args:
            images: What to test on; None for the test set.
        """
        tested = self._test if images is None else images
        totals = Totals(self.device, self.ranks)
        part = divided(len(tested), self.ranks.size)[self.ranks.rank]
        size = -(-self.config.batch_size // (self.ranks.size * self.config.accumulate))
        self._parallel.eval()
        with torch.no_grad(), self.averaged():
            for start in range(part.start, part.stop, size):
                if self.stop_requested:
                    break
                totals.add(*self._judge(self._network, *tested.batch(slice(start, min(start + size, part.stop)))))
        return None if self._agree_to_stop() else totals.means()

    def averaged(self) -> AbstractContextManager[None]:
        """Within it, ``model`` has the averaged weights, where there is an average."""
        return self._average.in_force() if self._average else nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint, in the middle of an epoch too: that of rank 0 is the state of all ranks."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "batches": self.batches.state_dict(),
            "epoch": self.epoch,
            "test_accuracy": self.test_accuracy,
            "epoch_totals": self._epoch_totals.values,
            "recent_totals": self._recent_totals.values,
            "ema": self._average.state_dict() if self._average else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.batches.load_state_dict(state["batches"])
        self.epoch = operator.index(state["epoch"])
        self.test_accuracy = state["test_accuracy"]
        self._epoch_totals.load(state["epoch_totals"])
        self._recent_totals.load(state["recent_totals"])
        if self._average:
            self._average.load_state_dict(state["ema"])

    def _run_epoch(self, observers: Sequence[Observer]) -> bool:
        """Trains what is left of an epoch and tests; False where a stop was requested before its end."""
        began = perf_counter()
        self._parallel.train()
        clock = Clock()
        for batch in self.batches.rest_of_epoch():
            clock.count(self._train_step(batch))
            if self.step % self.log_every == 0 or self.batches.position == len(self.batches):
                self._report_step(observers, clock)
            if self._agree_to_stop():
                self._check_finite()
                return False
        self._check_finite()
        evaluation = self.evaluate()
        if evaluation is None:
            return False
        test_loss, self.test_accuracy = evaluation
        loss, accuracy = self._epoch_totals.means()
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

    def _train_step(self, batch: Batch) -> int:
        """One step of the optimizer; returns the number of images of all ranks."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.ranks.size > 1:
            self._seed_step()
        parts = batch.split(self.config.accumulate)
        for part in parts:
            last = part is parts[-1]
            with nullcontext() if last else self.ranks.accumulating(self._parallel):
                loss, correct = self._judge(self._parallel, part.images, part.labels)
                # A mean over the joint batch, whose gradients the ranks are going to average.
                (loss * (part.counted * self.ranks.size / part.joint)).backward()
            if part.counted:
                for totals in (self._epoch_totals, self._recent_totals):
                    totals.add(loss, correct)
        self.optimizer.step()
        self.scheduler.step()
        if self._average:
            self._average.update(self.step)
        return batch.joint

    def _seed_step(self) -> None:
        """Makes what a network draws, as dropout does, differ from rank to rank, and come again in a resumed run.

        A checkpoint has torch's generators of rank 0 alone.
        """
        torch.manual_seed(((self.config.seed * 1_000_003 + self.step) * 65_537 + self.ranks.rank) % 2**63)

    def _agree_to_stop(self) -> bool:
        """Whether any rank was asked to stop; then all of them are."""
        if not self.ranks.largest(self.stop_requested):
            return False  # what was asked for meanwhile stays asked for
        self.stop_requested = True
        return True

    def _judge(self, network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and correctness of a batch."""
        images = images.to(self.device, self._dtype, non_blocking=True)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.amp):
            return self.objective(network, images, labels.to(self.device, non_blocking=True))

    def _check_finite(self) -> None:
        """Before a save: weights that are no numbers must not take the place of those that were saved before.

        Losses since the last report were not looked at yet, and those of the last step were before its update. All
        ranks ask, and find the same.
        """
        loss = self._recent_totals.loss()
        broken = not all(bool(value.isfinite().all()) for value in self.model.parameters())
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss} by step {self.step}: try a smaller --lr")
        if self.ranks.largest(broken):
            raise TrainingError(f"weights are not finite after step {self.step}: try a smaller --lr")

    def _report_step(self, observers: Sequence[Observer], clock: Clock) -> None:
        loss, accuracy = self._recent_totals.means()
        self._recent_totals.reset()
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss} in step {self.step}: try a smaller --lr")
        learning_rate = float(self.scheduler.get_last_lr()[0])
        record = StepRecord(self.epoch + 1, self.step, loss, accuracy, clock.recent_rate(), learning_rate)
        for observer in observers:
            observer.on_step(record)
