"""Progress on the terminal: a live bar, or plain lines where the output goes to a file or a pipe."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from time import perf_counter
from types import ModuleType
from typing import Any

from capsroute.training.extras import require
from capsroute.training.loop.records import EpochRecord, Observer, StepRecord

__all__ = [
    "SECONDS_BETWEEN_LINES",
    "Display",
    "LiveDisplay",
    "PlainDisplay",
    "live_bar",
    "make_display",
    "rich_progress",
]

_PURPOSE = "the live progress bar"
_WIDE = 100  # columns of a terminal that has room for the speed beside the rest

SECONDS_BETWEEN_LINES = 30.0
"""How often plain lines say how far a long piece of work has come."""


def live_bar(*columns: Any) -> Any:
    """A bar with the steps done and the time left, to be started and stopped.

    Args:
        columns: What stands between the two: columns of :func:`rich_progress`, or texts in rich's format.

    Raises:
        TrainingError: Rich is not installed.
    """
    rich = rich_progress()
    whole = require("rich.table", _PURPOSE).Column  # where a terminal is narrow, the bar alone gives way
    bar, steps = rich.BarColumn(bar_width=None), rich.MofNCompleteColumn(table_column=whole(no_wrap=True))
    left = rich.TimeRemainingColumn(table_column=whole(no_wrap=True))
    return rich.Progress("{task.description}", bar, steps, *columns, left, "left", expand=True)


def rich_progress() -> ModuleType:
    """Rich's module of bars.

    Raises:
        TrainingError: Rich is not installed.
    """
    return require("rich.progress", _PURPOSE)


class Display(AbstractContextManager["Display"], Observer):
    """An observer that writes to standard output while it is entered.

    Args:
        epochs: Epochs of the run.
        steps_per_epoch: Steps of each.
        step: Steps that the run has behind it.
    """

    def __init__(self, epochs: int, steps_per_epoch: int, step: int = 0) -> None:
        self._epochs = epochs
        self._steps = epochs * steps_per_epoch
        self._first_step = step

    def __exit__(self, *failure: object) -> None:
        """Ends what is shown."""

    def _epoch_line(self, record: EpochRecord) -> str:
        return (
            f"epoch {record.epoch}/{self._epochs}  loss {record.loss:.4f}  train accuracy {record.accuracy:.4f}  "
            f"test accuracy {record.test_accuracy:.4f}  {record.images_per_second:,.0f} images/s  "
            f"{record.seconds:.1f} s"
        )


def make_display(epochs: int, steps_per_epoch: int, step: int = 0) -> Display:
    """The :class:`Display` that suits standard output.

    Raises:
        TrainingError: Standard output is a terminal, but rich is not installed.
    """
    return (LiveDisplay if sys.stdout.isatty() else PlainDisplay)(epochs, steps_per_epoch, step)


class PlainDisplay(Display):
    """A line per epoch, and one every half minute within a long epoch."""

    def __init__(self, epochs: int, steps_per_epoch: int, step: int = 0) -> None:
        super().__init__(epochs, steps_per_epoch, step)
        self._began = self._printed = perf_counter()

    def on_step(self, record: StepRecord) -> None:
        """Prints a line where the last one is half a minute old."""
        now = perf_counter()
        if now - self._printed < SECONDS_BETWEEN_LINES:
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
        print(self._epoch_line(record), flush=True)


class LiveDisplay(Display):
    """A bar over all steps of the run with the latest loss, accuracy, speed and the time left.

    Raises:
        TrainingError: Rich is not installed.
    """

    def __init__(self, epochs: int, steps_per_epoch: int, step: int = 0) -> None:
        super().__init__(epochs, steps_per_epoch, step)
        self._progress = live_bar("{task.fields[numbers]}")
        label = f"epoch {step // steps_per_epoch + 1}/{epochs}"
        self._task = self._progress.add_task(label, total=self._steps, completed=step, numbers="")

    def __enter__(self) -> LiveDisplay:
        self._progress.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._progress.stop()

    def on_step(self, record: StepRecord) -> None:
        """Moves the bar."""
        numbers = f"loss {record.loss:.4f}  accuracy {record.accuracy:.4f}"
        if self._progress.console.width >= _WIDE:
            numbers += f"  {record.images_per_second:,.0f} images/s"
        description = f"epoch {record.epoch}/{self._epochs}"
        self._progress.update(self._task, completed=record.step, description=description, numbers=numbers)

    def on_epoch(self, record: EpochRecord) -> None:
        """Prints a line above the bar."""
        self._progress.console.print(self._epoch_line(record), highlight=False, soft_wrap=True)
