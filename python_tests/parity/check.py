"""A row of the table held to the tolerances."""

from __future__ import annotations

import torch

from ..routing.compare import assert_close_to
from .row import Row, Tensors, evaluate

DTYPES = [torch.float64, torch.float32]


def assert_same(row: Row, dtype: torch.dtype, seed: int = 0, who: str = "ours") -> None:
    """Results and gradients; the truth is the statement in float64, of the same rounded arguments.

    ``who`` may be ``"theirs"``: the statement itself in ``dtype``, as plain PyTorch rounds it here.
    """
    tensors = row.tensors(dtype, seed)
    wide = {name: tensor.double() for name, tensor in tensors.items()}
    assert_close_to(lambda: _together(row, "theirs", wide), _together(row, who, tensors), dtype)


def _together(row: Row, who: str, tensors: Tensors) -> Tensors:
    results, gradients = evaluate(row, who, tensors)
    return {**results, **gradients}
