"""The data sets of ``capsroute train``."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

from capsroute.training.datasets.affnist import load_affnist
from capsroute.training.datasets.cifar10 import load_cifar10
from capsroute.training.datasets.digits import load_digits
from capsroute.training.datasets.division import held_out
from capsroute.training.datasets.emnist import EMNIST_SPLITS, load_emnist
from capsroute.training.datasets.facts import DatasetFacts
from capsroute.training.datasets.imageset import Dataset, Images, ImageSet
from capsroute.training.datasets.mnist import load_fashion_mnist, load_kmnist, load_mnist, load_qmnist
from capsroute.training.datasets.own_folder import load_folder
from capsroute.training.datasets.reading import ReadOptions
from capsroute.training.datasets.smallnorb import load_smallnorb
from capsroute.training.datasets.svhn import load_svhn
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path

__all__ = [
    "READERS",
    "Dataset",
    "DatasetFacts",
    "ImageSet",
    "Images",
    "ReadOptions",
    "Reader",
    "held_out",
    "load_dataset",
    "load_digits",
    "load_folder",
    "load_mnist",
]


@dataclass(frozen=True)
class Reader:
    """How a data set comes into memory.

    Args:
        load: Takes the folder of its files, None where none was named, and how to read them.
        takes: What of these has an effect: ``"data_dir"`` and fields of
            :class:`~capsroute.training.datasets.ReadOptions`. The rest must be None.
    """

    load: Callable[[AnyPath | None, ReadOptions], Dataset]
    takes: frozenset[str] = frozenset({"data_dir"})


def _of_folder(load: Callable[[AnyPath | None], Dataset]) -> Reader:
    return Reader(lambda data_dir, options: load(data_dir))


READERS: dict[str, Reader] = {
    "digits": Reader(lambda data_dir, options: load_digits(), frozenset()),
    "mnist": _of_folder(load_mnist),
    "fashion-mnist": _of_folder(load_fashion_mnist),
    "kmnist": _of_folder(load_kmnist),
    "qmnist": _of_folder(load_qmnist),
    **{f"emnist-{split}": _of_folder(partial(load_emnist, split)) for split in EMNIST_SPLITS},
    "svhn": _of_folder(load_svhn),
    "cifar10": _of_folder(load_cifar10),
    "smallnorb": _of_folder(load_smallnorb),
    "affnist": _of_folder(load_affnist),
    "folder": Reader(load_folder, frozenset({"data_dir", "image_size", "channels", "test_share", "test_seed"})),
}
"""What ``--dataset`` may name. Their presets stand in ``capsroute.training.config``, under the same names."""


def load_dataset(name: str, data_dir: AnyPath | None = None, options: ReadOptions | None = None) -> Dataset:
    """Loads a data set by name.

    Args:
        name: One of :data:`READERS`.
        data_dir: Folder of its files; None for the user's cache, where there is one for it.
        options: How it is to be read.

    Raises:
        TrainingError: The name is unknown, a package is missing, the files are absent or broken, or something was asked
            for that the data set cannot do.
    """
    if name not in READERS:
        raise TrainingError(f"dataset must be one of {', '.join(READERS)}; got {name}")
    options = options or ReadOptions()
    data_dir = None if data_dir is None else as_path("data_dir", data_dir)
    reader = READERS[name]
    for option, value in {"data_dir": data_dir, **asdict(options)}.items():
        if value is not None and option not in reader.takes:
            raise TrainingError(f"{option} has no effect on the data set {name}: leave it out, {_advice(option)}")
    return reader.load(data_dir, options)


def _advice(option: str) -> str:
    takers = [name for name, reader in READERS.items() if option in reader.takes]
    return f"or choose a data set that takes it: {', '.join(takers)}"
