"""A network that was read from a file, before it is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from capsroute.training.config import TrainConfig
from capsroute.training.errors import TrainingError
from capsroute.training.networks import construct_network, image_shape

__all__ = ["StoredNetwork", "mismatch"]


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
    """

    path: Path
    config: TrainConfig
    state: Mapping[str, Tensor]
    classes: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    epoch: int | None = None
    step: int | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width in pixels of the images that it takes."""
        return image_shape(self.config, **self.options)

    def build(self) -> nn.Module:
        """The network itself, on the CPU, in eval mode; torch's global random generators stay as they are.

        Raises:
            TrainingError: The parameters are not those of the network that the file names.
        """
        try:
            with torch.device("meta"):
                network = construct_network(self.config, **self.options)
        except (TypeError, ValueError) as error:
            raise TrainingError(f"{self.path} names a network that cannot be built: {error}") from error
        expected = network.state_dict()
        problem = mismatch(expected, self.state)
        count = class_count(expected)
        if problem is None and count is not None and count != len(self.classes):
            problem = f"it names {len(self.classes)} classes where the network has {count}"
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


def mismatch(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """Why parameters are not those of a network: a clause, or None where they fit.

    Args:
        expected: ``state_dict()`` of the network.
        found: Parameters by name.
    """
    counts = class_count(expected), class_count(found)
    if None not in counts and counts[0] != counts[1]:
        return f"it tells {counts[1]} classes apart, not {counts[0]}"
    for names, verb in ((expected.keys() - found.keys(), "lacks"), (found.keys() - expected.keys(), "has in addition")):
        if names:
            first = min(names)
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            return f"it {verb} {first}{others}"
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            return f"{name} has the shape {list(found[name].shape)}, not {list(tensor.shape)}"
        if found[name].is_floating_point() != tensor.is_floating_point():
            return f"{name} has the type {found[name].dtype}, not one like {tensor.dtype}"
    return None
