"""Checkpoints: written whole or not at all, read without running code from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from capsroute.training.config import TrainConfig
from capsroute.training.errors import TrainingError
from capsroute.training.trainer import Trainer

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

_FORMAT = "capsroute-train-1"
_ENTRIES = {"format", "config", "trainer", "rng"}


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a checkpoint.

    Args:
        path: Where it was read.
        config: Configuration of its run.
        state: ``Trainer.state_dict()``.
        rng: States of torch's global random generators, by device type.
    """

    path: Path
    config: TrainConfig
    state: dict[str, Any]
    rng: dict[str, Any]

    def restore(self, trainer: Trainer) -> None:
        """Puts a trainer, and torch's global random generators, into the state of the checkpoint.

        Raises:
            TrainingError: The checkpoint is of another network or another data set.
        """
        try:
            trainer.load_state_dict(self.state)
            torch.set_rng_state(self.rng["cpu"])
            if len(self.rng["cuda"]) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(self.rng["cuda"])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise TrainingError(
                f"{self.path} is a checkpoint of another configuration: {_first_line(error)}"
            ) from error


def _first_line(error: Exception) -> str:
    """Torch lists every key of a state that does not fit, on lines of their own."""
    return " ".join(str(error).split("\n")[:2]).replace("\t", "")


def save_checkpoint(path: Path, trainer: Trainer) -> None:
    """Writes a checkpoint; an older one under the same name stays whole until the new one is on the disk.

    Args:
        path: File to write.
        trainer: At the end of an epoch, or between any two steps.

    Raises:
        TrainingError: The file cannot be written.
    """
    contents = {
        "format": _FORMAT,
        "config": trainer.config.as_dict(),
        "trainer": trainer.state_dict(),
        "rng": {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()},
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with open(temporary, "wb") as file:
                torch.save(contents, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # torch.save turns a full disk into a RuntimeError
        raise TrainingError(f"cannot write the checkpoint {path}: {error}") from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint, onto the CPU.

    Args:
        path: File written by :func:`save_checkpoint`.

    Raises:
        TrainingError: The file cannot be read or is not such a checkpoint.
    """
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise TrainingError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except Exception as error:  # whatever unpickling a foreign file raises
        raise TrainingError(f"{path} is not a checkpoint of capsroute train, or it is damaged") from error
    if not isinstance(contents, dict) or set(contents) != _ENTRIES or contents["format"] != _FORMAT:
        raise TrainingError(f"{path} is not a checkpoint of this version of capsroute train")
    return Checkpoint(path, TrainConfig.from_dict(contents["config"]), contents["trainer"], contents["rng"])
