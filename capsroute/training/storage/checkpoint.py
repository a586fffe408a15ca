"""Checkpoints: written whole or not at all, read without running code from them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from capsroute import no_memory
from capsroute.training.config import TrainConfig
from capsroute.training.errors import TrainingError
from capsroute.training.loop.records import EpochRecord
from capsroute.training.loop.trainer import Trainer
from capsroute.training.networks import network_options
from capsroute.training.storage.stored import StoredNetwork, class_numbers, mismatch, stored_data

__all__ = ["Checkpoint", "load_checkpoint", "trained_weights", "write_checkpoint"]

_FORMAT = "capsroute-train-1"
_ENTRIES = {"format", "config", "trainer", "rng"}
# What the first checkpoints do not have.
_ADDED = {"step", "last_epoch", "changed", "classes", "options", "data"}


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a checkpoint.

    Args:
        path: Where it was read.
        config: Configuration of its run.
        state: ``Trainer.state_dict()``.
        rng: States of torch's global random generators, by device type.
        step: Steps done, where the checkpoint says so.
        last_epoch: What was measured in the last epoch that ended, likewise.
        changed: Names of what the configuration had otherwise before the run was last resumed, or earlier.
        classes: Name of each class; empty for their numbers.
        options: As in :class:`~capsroute.training.storage.stored.StoredNetwork`.
        data: Likewise.
    """

    path: Path
    config: TrainConfig
    state: dict[str, Any]
    rng: dict[str, Any]
    step: int | None = None
    last_epoch: EpochRecord | None = None
    changed: frozenset[str] = frozenset()
    classes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def restore(self, trainer: Trainer) -> None:
        """Puts a trainer, and torch's global random generators, into the state of the checkpoint.

        Raises:
            TrainingError: The checkpoint is of another network, or of other images.
        """
        try:
            problem = self._other_images(trainer) or mismatch(trainer.model.state_dict(), self.state["model"])
            if problem is None:
                trainer.load_state_dict(self.state)
                problem = self._other_steps(trainer)
            if problem is None:
                torch.set_rng_state(self.rng["cpu"])
                if len(self.rng["cuda"]) == torch.cuda.device_count():
                    torch.cuda.set_rng_state_all(self.rng["cuda"])
        except (AttributeError, LookupError, OverflowError, RuntimeError, TypeError, ValueError) as error:
            problem = _first_line(error)
        if problem is not None:
            raise TrainingError(f"{self.path} is a checkpoint of another configuration: {problem}")

    def _other_images(self, trainer: Trainer) -> str | None:
        """How the images differ from those of the checkpoint: a clause."""
        found = stored_data(trainer.data)
        if not self.data or self.data["checksum"] == found["checksum"]:
            return None
        kinds = {"training_images": "images", "test_images": "test images"}
        for name, kind in kinds.items():
            if self.data[name] != found[name]:
                return f"it was trained on {self.data[name]:,} {kind}, not on {found[name]:,}"
        return (
            f"it was trained on as many other images, {self.data['title']} with the checksum {self.data['checksum']}, "
            f"not on {found['title']} with {found['checksum']}"
        )

    def _other_steps(self, trainer: Trainer) -> str | None:
        """Why the training set has another length than that of the checkpoint, as far as steps can tell: a clause."""
        if self.step is None or self.step == trainer.step:
            return None
        return f"it is of step {self.step:,}, which would be step {trainer.step:,} with these training images"

    @property
    def network(self) -> StoredNetwork:
        """What it holds of the network.

        Raises:
            TrainingError: It holds no weights.
        """
        try:
            state, epoch = trained_weights(self.state), int(self.state["epoch"])
            if not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()):
                raise TypeError
        except (AttributeError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
            raise TrainingError(f"{self.path} is a checkpoint without the weights of a network") from error
        return StoredNetwork(
            self.path,
            self.config,
            state,
            self.classes or class_numbers(state),
            self.options,
            epoch=epoch,
            step=self.step,
            data=self.data,
        )


def trained_weights(state: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """What a trained network is used with, by ``Trainer.state_dict()``: averaged weights, else the last ones."""
    averaged = state.get("ema")
    return averaged if averaged is not None else state["model"]


def _first_line(error: Exception) -> str:
    """Torch lists every key of a state that does not fit, on lines of their own."""
    return " ".join(str(error).split("\n")[:2]).replace("\t", "")


def write_checkpoint(
    file: BinaryIO, trainer: Trainer, last_epoch: EpochRecord | None = None, changed: Collection[str] = ()
) -> None:
    """Writes a checkpoint into an open file.

    Args:
        file: To write into.
        trainer: At the end of an epoch, or between any two steps.
        last_epoch: What was measured in the last epoch that ended.
        changed: As in :class:`Checkpoint`.
    """
    contents = {
        "format": _FORMAT,
        "config": trainer.config.as_dict(),
        "trainer": trainer.state_dict(),
        "rng": {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()},
        "step": trainer.step,
        "last_epoch": asdict(last_epoch) if last_epoch else None,
        "changed": sorted(changed),
        "classes": list(trainer.data.classes),
        "options": network_options(trainer.config, trainer.data),
        "data": stored_data(trainer.data),
    }
    torch.save(contents, file)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads what :func:`write_checkpoint` wrote, onto the CPU.

    Raises:
        TrainingError: The file cannot be read or is not such a checkpoint.
    """
    try:
        with path.open("rb") as file:  # by its path, torch would go by the ending of the name
            _check_archive(file)
            contents = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise TrainingError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except Exception as error:  # whatever unpickling a foreign file raises
        if sentence := no_memory.sentence_of(error):
            raise TrainingError(f"cannot read the checkpoint {path}: {sentence}") from error
        raise TrainingError(f"{path} is not a checkpoint of capsroute train, or it is damaged") from error
    if not isinstance(contents, dict) or set(contents) | _ADDED != _ENTRIES | _ADDED or contents["format"] != _FORMAT:
        raise TrainingError(f"{path} is not a checkpoint of this version of capsroute train")
    step = contents.get("step")
    try:
        config = TrainConfig.from_dict(contents["config"])
        last_epoch = _epoch_record(contents.get("last_epoch"))
        changed = frozenset(str(name) for name in contents.get("changed", ()))
        names = tuple(str(name) for name in contents.get("classes", ()))
        options, data = dict(contents.get("options", {})), dict(contents.get("data", {}))
        if not isinstance(contents["trainer"], dict) or not isinstance(step, int | None):
            raise TypeError
    except (RuntimeError, TypeError, ValueError) as error:  # the former by tensors that stand where none belong
        raise TrainingError(f"{path} is not a checkpoint of this version of capsroute train") from error
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from error
    return Checkpoint(
        path, config, contents["trainer"], contents["rng"], step, last_epoch, changed, names, options, data
    )


def _check_archive(file: BinaryIO) -> None:
    """Compares the contents with their check sums, which torch writes and does not look at.

    Raises:
        ValueError: They differ, or the archive claims to hold more than there is.
        Exception: It is no archive.
    """
    length = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        packed = [info for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]
        if packed or sum(info.file_size for info in archive.infolist()) > length:
            raise ValueError("the archive holds more than there is")
        wrong = archive.testzip()
        if wrong is not None:
            raise ValueError(f"{wrong} is not what was saved")
    file.seek(0)


def _epoch_record(values: Mapping[str, Any] | None) -> EpochRecord | None:
    """From the values in a checkpoint.

    Raises:
        TypeError: They are others than those of a record.
    """
    if not values:
        return None
    record = EpochRecord(**values)
    if not all(isinstance(value, int | float) for value in asdict(record).values()):
        raise TypeError("an epoch is described by numbers")
    return record
