"""The folder of a run: the names in it, and the care not to lose an older run."""

import shutil
from pathlib import Path
from tempfile import TemporaryFile

from capsroute.training.errors import TrainingError
from capsroute.training.storage.files import remove_leftovers

__all__ = ["RunFolder"]


class RunFolder:
    """Paths of the files of a run.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint.pt"
        """State after the last epoch, or where the run was interrupted."""
        self.weights = path / "model.safetensors"
        """The weights of the network alone, of the same step as the checkpoint."""
        self.model_card = path / "model-card.md"
        """What the network is, how it came about and how to use it, for people."""
        self.metrics = path / "metrics.jsonl"
        """One JSON object per line."""
        self.tensorboard = path / "tensorboard"
        """Folder of TensorBoard events."""
        self.reconstructions = path / "reconstructions.png"
        """Test images above their reconstructions."""
        self.learning_curve = path / "learning_curve.png"
        """Loss and accuracy over the steps."""
        self.confusion = path / "confusion.json"
        """Test images by true and by predicted class, with precision, recall and F1 of each class."""
        self.confusion_picture = path / "confusion.png"
        """The same counts, drawn."""
        self.images = path / "images.json"
        """What was found in a folder of images, and what of it was left out."""

    def prepare(self, resumed: Path | None, overwrite: bool) -> None:
        """Makes the folder ready for a run.

        Args:
            resumed: Checkpoint that the run goes on from; if it is this folder's, the run in it stays.
            overwrite: Whether an older run is removed. Only the files of a run are, nothing else in the folder.

        Raises:
            TrainingError: The folder cannot be written, or holds an older run that is to stay.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise TrainingError(f"cannot write into the folder {self.path}: {error.strerror or error}") from error
        saved = (self.checkpoint, self.weights, self.model_card, self.metrics)
        pictures = (self.reconstructions, self.learning_curve, self.confusion_picture)
        files = (*saved, self.tensorboard, *pictures, self.confusion, self.images)
        present = [file for file in files if file.exists()]
        for file in present:
            if file.is_dir() != (file == self.tensorboard):
                kind = "a folder" if file.is_dir() else "a file"
                raise TrainingError(f"{file} is {kind}, which no run makes: move it away, or choose another --out")
        goes_on = resumed is not None and resumed.resolve() == self.checkpoint.resolve()
        if present and not goes_on:
            self._remove(present, resumed, overwrite)
        remove_leftovers(saved)

    def _remove(self, present: list[Path], resumed: Path | None, overwrite: bool) -> None:
        """Removes an older run, by the files of it that are there."""
        if not overwrite:
            raise TrainingError(
                f"{self.path} holds a run already ({present[0].name}): choose another --out, go on with --resume "
                f"{self.checkpoint}, or remove it with --overwrite"
            )
        if resumed is not None and resumed.resolve().is_relative_to(self.path.resolve()):
            raise TrainingError(f"--overwrite would remove the run that {resumed} belongs to: choose another --out")
        for file in present:
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink()
