"""A network that was read from a file, before it is built."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from capsroute.training.config import TrainConfig
from capsroute.training.datasets import Dataset
from capsroute.training.errors import TrainingError
from capsroute.training.networks import construct_network, image_shape

__all__ = ["StoredNetwork", "class_numbers", "mismatch", "stored_data"]

_FLOATING = {torch.float32, torch.float64, torch.bfloat16, torch.float16}  # that networks run in


@dataclass(frozen=True)
class StoredNetwork:
    """What a file says of a network.

    Args:
        path: The file.
        config: Configuration that it was trained with.
        state: Its parameters by name, on the CPU.
        classes: Name of each class, in the order of the scores.
        options: What its construction had beyond the preset of the data set.
        epoch: Epochs that it was trained for, where the file says so.
        step: Steps, likewise.
        data: What it was trained on, as ``stored_data`` has it, where the file says so.
    """

    path: Path
    config: TrainConfig
    state: Mapping[str, Tensor]
    classes: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    epoch: int | None = None
    step: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width in pixels of the images that it takes."""
        return image_shape(self.config, **self.options)

    @property
    def of_pictures(self) -> bool:
        """Whether it was trained on a folder of pictures, which were brought to one size, and takes such."""
        return self.config.dataset == "folder"

    def misnamed(self, expected: Mapping[str, Tensor]) -> str | None:
        """Why the names of the classes do not fit the parameters of a network: a clause, or None where they do."""
        count = class_count(expected)
        if count is None or count == len(self.classes):
            return None
        return f"it names {len(self.classes)} classes where the network has {count}"

    def build(self) -> nn.Module:
        """The network itself, on the CPU, in eval mode; torch's global random generators stay as they are.

        Raises:
            TrainingError: The parameters are not those of the network that the file names.
        """
        try:
            with torch.device("meta"):
                network = construct_network(self.config, **self.options)
        except Exception as error:  # whatever a network says of options that a foreign file has
            raise TrainingError(f"{self.path} names a network that cannot be built: {error}") from error
        expected = network.state_dict()
        problem = mismatch(expected, self.state) or self.misnamed(expected)
        if problem is not None:
            raise TrainingError(f"{self.path} does not hold the weights of the network that it names: {problem}")
        network.load_state_dict(dict(self.state), assign=True)
        return network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def class_count(state: Mapping[str, Tensor]) -> int | None:
    """Classes of a network, by its parameters; None where they do not tell."""
    weight = state.get("classes.weight")
    if weight is None or weight.dim() not in (2, 4):
        return None
    return weight.shape[1 if weight.dim() == 4 else 0]  # [I, J, D, d] of capsules, [J, features] of a linear layer


def stored_data(data: Dataset) -> dict[str, Any]:
    """What files say of the images that a network was trained on: values of JSON, ``checksum`` among them."""
    return {
        "title": data.facts.title,
        "checksum": data.checksum,
        "training_images": len(data.train),
        "test_images": len(data.test),
    }


def class_numbers(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names of the classes of a network of which nothing else is said: ``"0"``, ``"1"`` and so on."""
    return tuple(map(str, range(class_count(state) or 0)))


def mismatch(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """Why parameters are not those of a network: a clause, or None where they fit.

    Args:
        expected: ``state_dict()`` of the network.
        found: Parameters by name.
    """
    counts = class_count(expected), class_count(found)
    if None not in counts and counts[0] != counts[1]:
        return f"it has {counts[1]} classes, not {counts[0]}"
    missing, added = expected.keys() - found.keys(), found.keys() - expected.keys()
    if missing:
        return f"it lacks {_listed(missing)}"
    if added:
        return f"it has {_listed(added)}, which the network has not"
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            return f"{name} has the shape {list(found[name].shape)}, not {list(tensor.shape)}"
        types = _FLOATING if tensor.is_floating_point() else {tensor.dtype}
        if found[name].dtype not in types or found[name].layout != torch.strided:
            return f"{name} has the type {found[name].dtype}, not one like {tensor.dtype}"
    return None


def _listed(names: Collection[str]) -> str:
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return min(names) + others
