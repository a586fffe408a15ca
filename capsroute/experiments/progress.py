"""How far an experiment has come: a live bar, or plain lines where the output goes to a file or a pipe."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any

from capsroute.training.reporting.display import SECONDS_BETWEEN_LINES, live_bar, rich_progress

__all__ = ["Progress"]


class Progress:
    """Counts training steps over all seeds, and shows them while it is entered.

    Args:
        total: Steps of the whole experiment.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self._label = ""
        self._printed = perf_counter()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if sys.stdout.isatty():
            self._bar = live_bar(rich_progress().TimeElapsedColumn(), "gone,")
            self._task = self._bar.add_task("", total=self.total)
            self._bar.start()
        return self

    def __exit__(self, *failure: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, label: str) -> None:
        """Says what comes next, such as a seed."""
        self._label = label
        self._show(label, always=True)

    def advance(self, steps: int, what: str) -> None:
        """Counts steps of a training."""
        self.done += steps
        self._show(f"{self._label}: {what}", always=False)

    def _show(self, text: str, always: bool) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, description=text)
            return
        now = perf_counter()
        if always or now - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = now
            print(f"{text} (step {self.done} of {self.total})", flush=True)
