"""Events for TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import count
from socket import gethostname
from time import time
from typing import Any

from capsroute.training.extras import require
from capsroute.training.paths import AnyPath, as_path

__all__ = ["BOARD_PACKAGE", "BOARD_PURPOSE", "Board"]

BOARD_PACKAGE = "tensorboard.summary.writer.record_writer"
BOARD_PURPOSE = "writing TensorBoard events"
_numbers = count()


class Board:
    """Writes scalars into an event file of its own.

    All is written by the thread that calls, and at once. Torch's ``SummaryWriter`` has a thread for it, which prints a
    traceback where the disk is full, and tells its caller some records later.

    Args:
        folder: For the file; made where it is not there.
        purge_step: From this step on TensorBoard shall show nothing of what is in the folder already; None to keep all.

    Raises:
        TrainingError: TensorBoard is not installed.
        OSError: The file cannot be written, here or later.
    """

    def __init__(self, folder: AnyPath, purge_step: int | None = None) -> None:
        records = require(BOARD_PACKAGE, BOARD_PURPOSE)
        self._events: Any = require("tensorboard.compat.proto.event_pb2", BOARD_PURPOSE)
        self._summaries: Any = require("tensorboard.compat.proto.summary_pb2", BOARD_PURPOSE)
        folder = as_path("folder", folder)
        folder.mkdir(parents=True, exist_ok=True)
        # The form of name that TensorBoard looks for and sorts by.
        name = f"events.out.tfevents.{int(time()):010d}.{gethostname()}.{os.getpid()}.{next(_numbers)}"
        self._file = open(folder / name, "wb")  # noqa: SIM115 - closed by close()
        self._records: Any = records.RecordWriter(self._file)
        try:
            self._write(file_version="brain.Event:2")
            if purge_step is not None:
                start = self._events.SessionLog(status=self._events.SessionLog.START)
                self._write(step=purge_step, session_log=start)
        except OSError:
            self._file.close()
            raise

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the values of a step, by their tags."""
        entries = [self._summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(step=step, summary=self._summaries.Summary(value=entries))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, **contents: Any) -> None:
        self._records.write(self._events.Event(wall_time=time(), **contents).SerializeToString())
        self._records.flush()
