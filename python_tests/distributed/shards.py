"""A call divided among ranks by its inputs, and put together again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..routing.cases import Case, Tensors, votes_of

_AXIS_OF_INPUTS = {"x": 1, "votes": 1, "input_weight": 1, "input_mask": 1}  # weight, logits and coupling: see below


def bounds(inputs: int, ranks: int, uneven: bool) -> list[int]:
    """Where each rank's inputs begin, and the end: even slices, or one input for every rank but the last."""
    return [*range(ranks), inputs] if uneven else [rank * inputs // ranks for rank in range(ranks + 1)]


def tensors_of(case: Case, entry: str, dtype: torch.dtype) -> Tensors:
    """The whole arguments; of weights that some inputs share, which a slice shares otherwise, each has a copy."""
    tensors = case.tensors(dtype)
    if case.weights == "half":
        inputs = case.sizes[1]
        tensors["weight"] = tensors["weight"][torch.arange(inputs) % tensors["weight"].shape[0]]
    return votes_of(tensors) if entry == "route_votes" else tensors


def _axis(name: str, tensor: Tensor) -> int | None:
    """The axis of the inputs, None for what all ranks have."""
    if name in ("logits", "coupling"):
        return tensor.dim() - 2
    if name == "weight":
        return 0 if tensor.shape[0] > 1 else None
    return _AXIS_OF_INPUTS.get(name)


def slice_of(tensors: Tensors, begin: int, end: int) -> Tensors:
    """What a rank with these inputs holds."""
    axes = {name: _axis(name, tensor) for name, tensor in tensors.items()}
    return {
        name: tensor if axis is None else tensor.narrow(axis, begin, end - begin)
        for (name, tensor), axis in zip(tensors.items(), axes.values(), strict=True)
    }


def together(parts: list[Tensors], whole: Tensors) -> Tensors:
    """Outputs and gradients of all ranks as those of one call; what must be the same on all ranks is held to it."""
    joined: dict[str, Any] = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        axis = None if name == "output" else _axis(name, whole[name])
        if axis is not None:
            joined[name] = torch.cat(values, axis)
        elif name == "weight":  # one matrix that all ranks use, each for its own inputs
            joined[name] = torch.stack(values).to(torch.float64).sum(0).to(values[0].dtype)
        else:
            assert all(torch.equal(value, values[0]) for value in values), f"{name} differs between the ranks"
            joined[name] = values[0]
    return joined
