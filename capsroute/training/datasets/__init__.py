"""The data sets of ``capsroute train``."""

from pathlib import Path

from capsroute.training.config import WITHOUT_FILES
from capsroute.training.datasets.digits import load_digits
from capsroute.training.datasets.imageset import Dataset, Images, ImageSet
from capsroute.training.datasets.mnist import load_mnist
from capsroute.training.errors import TrainingError

__all__ = ["Dataset", "ImageSet", "Images", "load_dataset", "load_digits", "load_mnist"]


def load_dataset(name: str, data_dir: Path | None = None) -> Dataset:
    """Loads a data set by name.

    Args:
        name: ``"digits"`` or ``"mnist"``.
        data_dir: Folder of the files of MNIST; None for the user's cache, and for digits, which has no files.

    Raises:
        TrainingError: The name is unknown, a folder is given to a data set without files, a package is missing, or the
            files are absent or broken.
    """
    if data_dir is not None and name in WITHOUT_FILES:
        raise TrainingError(f"data_dir must be None for {name}, which is read from no folder; got {data_dir}")
    if name == "digits":
        return load_digits()
    if name == "mnist":
        return load_mnist(data_dir)
    raise TrainingError(f"dataset must be digits or mnist, got {name}")
