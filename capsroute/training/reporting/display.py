"""Progress on the terminal: a live bar, or plain lines where the output goes to a file or a pipe."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from time import perf_counter
from types import TracebackType
from typing import Any

from capsroute.training.extras import require
from capsroute.training.loop.records import EpochRecord, Observer, StepRecord

__all__ = ["Display", "LiveDisplay", "PlainDisplay", "make_display"]

_SECONDS_BETWEEN_LINES = 30.0


class Display(AbstractContextManager["Display"], Observer):
    """An observer that writes to standard output while it is entered."""


def make_display(epochs: int, steps_per_epoch: int, step: int = 0) -> Display:
    """The display that suits standard output.

    Args:
        epochs: Epochs of the run.
        steps_per_epoch: Steps of each.
        step: Steps that the run has behind it.

    Raises:
        TrainingError: Standard output is a terminal, but rich is not installed.
    """
    if sys.stdout.isatty():
        return LiveDisplay(epochs, steps_per_epoch, step)
    return PlainDisplay(epochs, steps_per_epoch, step)


def _epoch_line(record: EpochRecord, epochs: int) -> str:
    return (
        f"epoch {record.epoch}/{epochs}  loss {record.loss:.4f}  train accuracy {record.accuracy:.4f}  "
        f"test accuracy {record.test_accuracy:.4f}  {record.images_per_second:,.0f} images/s  {record.seconds:.1f} s"
    )


class PlainDisplay(Display):
    """A line per epoch, and one every half minute within a long epoch.

    Args:
        epochs: Epochs of the run.
        steps_per_epoch: Steps of each.
        step: Steps that the run has behind it.
    """

    def __init__(self, epochs: int, steps_per_epoch: int, step: int = 0) -> None:
        self._epochs = epochs
        self._steps = epochs * steps_per_epoch
        self._first_step = step
        self._began = self._printed = perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to end."""

    def on_step(self, record: StepRecord) -> None:
        """Prints a line where the last one is half a minute old."""
        now = perf_counter()
        if now - self._printed < _SECONDS_BETWEEN_LINES:
            return
        self._printed = now
        seconds_per_step = (now - self._began) / (record.step - self._first_step)
        minutes, seconds = divmod(round(seconds_per_step * (self._steps - record.step)), 60)
        print(
            f"epoch {record.epoch}/{self._epochs}  step {record.step}/{self._steps}  loss {record.loss:.4f}  "
            f"train accuracy {record.accuracy:.4f}  {record.images_per_second:,.0f} images/s  "
            f"{minutes}:{seconds:02d} left",
            flush=True,
        )

    def on_epoch(self, record: EpochRecord) -> None:
        """Prints a line."""
        self._printed = perf_counter()
        print(_epoch_line(record, self._epochs), flush=True)


class LiveDisplay(Display):
    """A bar over all steps of the run with the latest loss, accuracy, speed and the time left.

    Args:
        epochs: Epochs of the run.
        steps_per_epoch: Steps of each.
        step: Steps that the run has behind it.

    Raises:
        TrainingError: Rich is not installed.
    """

    def __init__(self, epochs: int, steps_per_epoch: int, step: int = 0) -> None:
        progress = require("rich.progress", "the live progress bar")
        self._epochs = epochs
        self._progress: Any = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=None),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[numbers]}"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("left"),
            expand=True,
        )
        self._task = self._progress.add_task(
            f"epoch {step // steps_per_epoch + 1}/{epochs}",
            total=epochs * steps_per_epoch,
            completed=step,
            numbers="",
        )

    def __enter__(self) -> LiveDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_step(self, record: StepRecord) -> None:
        """Moves the bar."""
        self._progress.update(
            self._task,
            completed=record.step,
            description=f"epoch {record.epoch}/{self._epochs}",
            numbers=f"loss {record.loss:.4f}  accuracy {record.accuracy:.4f}  {record.images_per_second:,.0f} images/s",
        )

    def on_epoch(self, record: EpochRecord) -> None:
        """Prints a line above the bar."""
        self._progress.console.print(_epoch_line(record, self._epochs), highlight=False, soft_wrap=True)
