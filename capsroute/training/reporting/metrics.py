"""Metrics on disk: JSON lines and TensorBoard."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from capsroute.training.errors import TrainingError
from capsroute.training.loop.records import EpochRecord, StepRecord
from capsroute.training.paths import AnyPath, as_path
from capsroute.training.reporting.board import Board
from capsroute.training.storage.files import failures_named, replace_files

__all__ = ["MetricsWriter", "read_metrics"]


def read_metrics(path: AnyPath) -> list[dict[str, Any]]:
    """Records of a metrics file, each with its ``kind``: ``"run"``, ``"step"`` or ``"epoch"``.

    A last line that a crash cut off is left out.

    Raises:
        TrainingError: The file holds something else.
    """
    path = as_path("path", path)
    records = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            record = json.loads(line.decode())
        except json.JSONDecodeError:
            break
        except (RecursionError, ValueError):
            record = None
        if not _is_record(record):
            raise TrainingError(f"{path} is damaged: line {number} is no record of a run")
        records.append(record)
    return records


def _is_record(record: object) -> bool:
    """Whether it says what it is and when it was."""
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return False
    counts = {"step": ("step",), "epoch": ("step", "epoch")}.get(record["kind"], ())
    return all(isinstance(record.get(name), int) for name in counts)


class MetricsWriter:
    """Appends every record to ``metrics.jsonl`` and to TensorBoard; an observer of the training.

    Args:
        path: The JSON lines.
        tensorboard_dir: Folder of the TensorBoard events.
        step: Steps that the run has behind it.
        epoch: Epochs that it has behind it. Later records, from a run that went on after the checkpoint that is now
            resumed, are dropped, so that nothing is there twice.

    Raises:
        TrainingError: TensorBoard is not installed, or the files cannot be written, here or later.
    """

    def __init__(self, path: AnyPath, tensorboard_dir: AnyPath, step: int = 0, epoch: int = 0) -> None:
        path = as_path("path", path)
        tensorboard_dir = as_path("tensorboard_dir", tensorboard_dir)
        self._path = path
        self._board_path = tensorboard_dir
        with failures_named(path):
            if path.exists():
                _keep_until(path, step, epoch)
            self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 - closed by __exit__
        try:
            with failures_named(tensorboard_dir):
                self._board = Board(tensorboard_dir, purge_step=step + 1 if step else None)
        except TrainingError:
            self._file.close()
            raise

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            try:
                with failures_named(self._path):
                    self._file.close()
            finally:
                with failures_named(self._board_path):
                    self._board.close()
        except TrainingError:
            if error is None:  # else the first failure is the one to tell
                raise

    def describe_run(self, facts: dict[str, Any]) -> None:
        """Writes what the run is made of, once per start."""
        self._write("run", facts)

    def on_step(self, record: StepRecord) -> None:
        """Writes a step."""
        self._write("step", asdict(record))
        self._scalars(
            record.step,
            {
                "train/loss": record.loss,
                "train/accuracy": record.accuracy,
                "speed/images_per_second": record.images_per_second,
                "train/learning_rate": record.learning_rate,
            },
        )

    def on_epoch(self, record: EpochRecord) -> None:
        """Writes an epoch."""
        self._write("epoch", asdict(record))
        self._scalars(record.step, {"test/loss": record.test_loss, "test/accuracy": record.test_accuracy})

    def _write(self, kind: str, facts: dict[str, Any]) -> None:
        with failures_named(self._path):
            self._file.write(json.dumps({"kind": kind, **facts}) + "\n")

    def _scalars(self, step: int, values: dict[str, float]) -> None:
        with failures_named(self._board_path):
            self._board.scalars(step, values)


def _keep_until(path: Path, step: int, epoch: int) -> None:
    kept = [r for r in read_metrics(path) if r["step"] <= step and (r["kind"] != "epoch" or r["epoch"] <= epoch)]
    text = "".join(json.dumps(record) + "\n" for record in kept)
    replace_files({path: lambda file: file.write(text.encode())})
