"""A row of the table held to the tolerances."""

from __future__ import annotations

import torch

from ..routing.compare import assert_close_to
from .row import Row, Tensors, evaluate

DTYPES = [torch.float64, torch.float32]


def assert_same(row: Row, dtype: torch.dtype, seed: int = 0) -> None:
    """Results and gradients; the truth is the statement in float64, of the same rounded arguments."""
    tensors = row.tensors(dtype, seed)
    wide = {name: tensor.double() for name, tensor in tensors.items()}
    assert_close_to(lambda: _together(row, "theirs", wide), _together(row, "ours", tensors), dtype)


def _together(row: Row, who: str, tensors: Tensors) -> Tensors:
    results, gradients = evaluate(row, who, tensors)
    return {**results, **gradients}
