"""A trained network from what a run leaves."""

from __future__ import annotations

import os

from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path
from capsroute.training.storage.checkpoint import load_checkpoint
from capsroute.training.storage.runfolder import RunFolder
from capsroute.training.storage.stored import StoredNetwork
from capsroute.training.storage.weights import read_weights

__all__ = ["read_network"]

_ZIP = b"PK\x03\x04"  # the container of torch.save
_HEADER_BEGINS = 8  # of a safetensors file, after the length of the header


def read_network(path: AnyPath) -> StoredNetwork:
    """Reads the network of a checkpoint or of a safetensors file, whatever its name; no code in it is run.

    Args:
        path: File that ``capsroute train`` wrote, or the folder of a run, whose ``model.safetensors`` is read.

    Returns:
        The network, to be built by :meth:`~capsroute.training.storage.stored.StoredNetwork.build`.

    Raises:
        TrainingError: The file cannot be read, is damaged, or is neither.
    """
    path = as_path("path", path)
    if os.path.isdir(path):  # which answers, where Path.is_dir raises: a name may be too long
        path = RunFolder(path).weights
    try:
        with path.open("rb") as file:
            beginning = file.read(_HEADER_BEGINS + 1)
    except OSError as error:
        raise TrainingError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    if beginning.startswith(_ZIP):
        return load_checkpoint(path).network
    if beginning[_HEADER_BEGINS:] == b"{":
        return read_weights(path)
    raise TrainingError(f"{path} is neither a checkpoint nor a safetensors file of capsroute train, or it is damaged")
