"""What is saved of a run together: the checkpoint, the weights and the model card."""

from __future__ import annotations

import platform
from collections.abc import Collection
from datetime import datetime, timezone
from pathlib import Path

import torch

from capsroute._version import __version__
from capsroute.training.errors import TrainingError
from capsroute.training.loop.records import EpochRecord, StepRecord
from capsroute.training.loop.trainer import Trainer
from capsroute.training.networks import network_options
from capsroute.training.storage.checkpoint import trained_weights, write_checkpoint
from capsroute.training.storage.files import FileNotWritten, replace_files
from capsroute.training.storage.model_card import CardFacts, model_card
from capsroute.training.storage.runfolder import RunFolder
from capsroute.training.storage.stored import StoredNetwork, class_numbers, stored_data
from capsroute.training.storage.weights import write_weights

__all__ = ["Saver"]


class Saver:
    """Observer that saves a run: all its files are of one step, or those of the former save stay.

    Args:
        folder: Folder of the run.
        trainer: What is saved.
        last_epoch: What was measured in the last epoch before the run was resumed.
        changed: Names of what the configuration had otherwise before the run was resumed.
        data_dir: Folder that was named for the images, for the command in the card.
    """

    def __init__(
        self,
        folder: RunFolder,
        trainer: Trainer,
        last_epoch: EpochRecord | None = None,
        changed: Collection[str] = (),
        data_dir: Path | None = None,
    ) -> None:
        self._folder = folder
        self._trainer = trainer
        self._last_epoch = last_epoch
        self._changed = changed
        self._data_dir = data_dir

    def on_step(self, record: StepRecord) -> None:
        """Nothing: steps are not saved."""

    def on_epoch(self, record: EpochRecord) -> None:
        """Keeps what was measured, for the next save."""
        self._last_epoch = record

    def save(self) -> None:
        """Writes checkpoint, weights and model card.

        Raises:
            TrainingError: One of them cannot be written; those of the former save are whole.
        """
        folder, trainer, last_epoch = self._folder, self._trainer, self._last_epoch
        config = trainer.config
        stored = StoredNetwork(
            folder.weights,
            config,
            trained_weights(trainer.state_dict()),
            trainer.data.classes or class_numbers(trainer.model.state_dict()),
            network_options(config, trainer.data),
            epoch=trainer.epoch,
            step=trainer.step,
            data=stored_data(trainer.data),
        )
        facts = CardFacts(
            config=config,
            data=trainer.data.facts,
            classes=stored.classes,
            image_shape=trainer.data.image_shape,
            checksum=trainer.data.checksum,
            parameters=sum(tensor.numel() for tensor in stored.state.values()),
            step=trainer.step,
            epoch=trainer.epoch,
            last_epoch=last_epoch,
            training_images=len(trainer.data.train),
            test_images=len(trainer.data.test),
            versions={"capsroute": __version__, "torch": torch.__version__, "Python": platform.python_version()},
            written=datetime.now(timezone.utc),
            device=trainer.device.type,
            threads=torch.get_num_threads(),
            processes=trainer.ranks.size,
            changed=self._changed,
            data_dir=self._data_dir,
        )
        try:
            replace_files(
                {
                    folder.checkpoint: lambda file: write_checkpoint(file, trainer, last_epoch, self._changed),
                    folder.weights: lambda file: write_weights(file, stored),
                    folder.model_card: lambda file: file.write(model_card(facts).encode()),
                }
            )
        except FileNotWritten as error:
            raise TrainingError(f"cannot write {error}; {self._advice(error)}") from error

    def _advice(self, error: FileNotWritten) -> str:
        remedy = "make room there" if error.full else "mend that"
        if self._folder.checkpoint.is_file():
            return (
                f"the files of the former save are whole: {remedy}, then go on with --resume {self._folder.checkpoint}"
            )
        return f"nothing was saved: {remedy}, then start again"
