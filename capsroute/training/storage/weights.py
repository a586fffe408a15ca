"""Weights in the safetensors format: numbers and text, nothing that could run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from capsroute._version import __version__
from capsroute.training.config import TrainConfig
from capsroute.training.errors import TrainingError
from capsroute.training.extras import require
from capsroute.training.networks import construct_network
from capsroute.training.storage.files import FileNotWritten, replace_files
from capsroute.training.storage.stored import StoredNetwork, class_numbers, mismatch

__all__ = ["load_network", "read_weights", "save_weights", "write_weights"]

_FORMAT = "capsroute-weights-1"
_PURPOSE = "the safetensors format"


def save_weights(
    path: Path | str,
    model: nn.Module,
    config: TrainConfig,
    *,
    options: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    epoch: int | None = None,
    step: int | None = None,
) -> None:
    """Writes the weights of a network, and what it takes to build it, into a safetensors file.

    The file that was there before stays whole until the new one is on the disk.

    Args:
        path: File to write, ``model.safetensors`` by custom.
        model: The network that ``config`` and ``options`` describe, on any device and in any floating type, which the
            file keeps.
        config: Its configuration.
        options: What its construction had beyond the preset of the data set, values of JSON by name.
        classes: Name of each class; None for their numbers.
        epoch: Epochs that it was trained for.
        step: Steps that it was trained for.

    Raises:
        ValueError: The model is not the network that ``config`` and ``options`` describe, or has not as many classes as
            names.
        TrainingError: The file cannot be written, or safetensors is not installed.
    """
    stored = StoredNetwork(
        Path(path),
        config,
        model.state_dict(),
        class_numbers(model.state_dict()) if classes is None else tuple(classes),
        options or {},
        epoch,
        step,
    )
    with torch.device("meta"):
        expected = construct_network(config, **stored.options).state_dict()
    problem = mismatch(expected, stored.state) or stored.misnamed(expected)
    if problem is not None:
        raise ValueError(f"model is not the network that config describes: {problem}")
    try:
        replace_files({stored.path: lambda file: write_weights(file, stored)})
    except FileNotWritten as error:
        raise TrainingError(f"cannot write the weights {error}") from error


def write_weights(file: BinaryIO, stored: StoredNetwork) -> None:
    """Writes a network into an open file; ``stored.path`` does not matter.

    Raises:
        TrainingError: Safetensors is not installed.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in stored.state.items()}
    metadata = {
        "format": "pt",  # which other readers of such files look for
        "capsroute_format": _FORMAT,
        "capsroute_version": __version__,
        "config": json.dumps(stored.config.as_dict()),
        "options": json.dumps(dict(stored.options)),
        "classes": json.dumps(list(stored.classes)),
        "trained": json.dumps({"epoch": stored.epoch, "step": stored.step}),
        "data": json.dumps(dict(stored.data)),
        "sha256": _digest(tensors),
    }
    file.write(require("safetensors.torch", _PURPOSE).save(tensors, metadata))


def read_weights(path: Path | str) -> StoredNetwork:
    """Reads what :func:`save_weights` wrote, without building the network.

    Raises:
        TrainingError: The file cannot be read, is damaged or truncated, or is none of capsroute's; or safetensors is
            not installed.
    """
    path = Path(path)
    safetensors = require("safetensors", _PURPOSE)
    try:
        with path.open("rb"):  # whose errors say more than those below
            pass
        with safetensors.safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            # Copies: what the file gives is its memory map, which ends with whoever cuts the file.
            state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            digest = _digest(state)
    except OSError as error:
        raise TrainingError(f"cannot read the weights {path}: {error.strerror or error}") from error
    except (safetensors.SafetensorError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise TrainingError(f"{path} is not a safetensors file, or it is damaged: {error}") from error
    if metadata.get("capsroute_format") != _FORMAT:
        raise TrainingError(f"{path} is not a safetensors file of this version of capsroute train")
    if metadata.get("sha256") != digest:
        raise TrainingError(f"{path} is damaged: its weights are not those that were saved")
    try:
        return _stored(path, metadata, state)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise TrainingError(f"{path} is damaged: its metadata cannot be read") from error
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from error


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Of the numbers, which safetensors itself does not guard."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _stored(path: Path, metadata: Mapping[str, str], state: Mapping[str, Tensor]) -> StoredNetwork:
    config, options, classes, trained = (
        json.loads(metadata[key]) for key in ("config", "options", "classes", "trained")
    )
    names, epoch, step = tuple(str(name) for name in classes), trained["epoch"], trained["step"]
    "".join(names).encode()  # half a character, which JSON can hold, could not be printed
    if not isinstance(epoch, int | None) or not isinstance(step, int | None):
        raise TypeError("epochs and steps are counted")
    data = dict(json.loads(metadata.get("data", "{}")))  # the first such files say nothing of it
    return StoredNetwork(path, TrainConfig.from_dict(config), state, names, dict(options), epoch, step, data)


def load_network(path: Path | str) -> nn.Module:
    """The network of a safetensors file that :func:`save_weights` or ``capsroute train`` wrote.

    Nothing in the file is run, and torch's random generators stay as they are.

    Args:
        path: File.

    Returns:
        :class:`~capsroute.models.CapsNet` or :class:`~capsroute.models.PoolingCNN`, on the CPU, in eval mode, with the
        very bits that were saved. It takes images ``[B, channels, H, W]`` in [0, 1].

    Raises:
        TrainingError: The file cannot be read, is damaged or truncated, is none of capsroute's, or holds other weights
            than those of the network that it names; or safetensors is not installed.
    """
    return read_weights(path).build()
