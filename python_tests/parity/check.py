"""A row of the table held to the tolerances."""

from __future__ import annotations

import torch

from ..routing.tolerances import assert_faithful
from .row import Row, Tensors, evaluate

DTYPES = [torch.float64, torch.float32]


def _cast(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def assert_same(row: Row, dtype: torch.dtype) -> None:
    """Results and gradients; the truth is the statement in float64, of the same rounded arguments."""
    tensors = row.tensors(dtype)
    truth = evaluate(row, "theirs", _cast(tensors, torch.float64))
    plain = evaluate(row, "theirs", tensors)
    actual = evaluate(row, "ours", tensors)
    for ours, true, same in zip(actual, truth, plain, strict=True):
        assert ours.keys() == true.keys()
        for name in true:
            assert_faithful(ours[name], true[name], [same[name]], name=f"{row.name}: {name}")
