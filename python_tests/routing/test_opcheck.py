"""``torch.library.opcheck`` of the registered ops: schema, fakes, hidden mutation or aliasing, dynamic shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from capsroute.routing import ops
from capsroute.routing.options import RoutingOptions

from ..covering import covering
from ..lanes import sampled
from .cases import Case, option_cases, votes_of

CASES = [
    *sampled(option_cases()[::2], 4),
    Case((0, 6, 4, 5, 3), bias=True, logits="sample", input_mask=True),
    Case((1, 1, 1, 1, 1)),
]
FEW = [
    Case((5, 6, 4, 5, 3)),
    Case((3, 6, 4, 5, 3), bias=True, logits="sample", input_mask=True, output_mask=True, softmax="inputs"),
    Case((0, 6, 4, 5, 3), bias=True, logits="shared"),
]
DTYPES = [torch.float32, torch.float64, torch.bfloat16]
NAMES = pytest.mark.parametrize("name", list(ops.SOURCES))


def common_arguments(
    name: str, case: Case, dtype: torch.dtype, backend: str = "cpu"
) -> tuple[list[Tensor | None], list[int], list[float]]:
    """The tensors of both ops in their order, and the packed options."""
    tensors = case.tensors(dtype)
    tensors = votes_of(tensors) if name == "route_votes" else tensors
    options = RoutingOptions(backend=backend, **case.options())
    names = (*ops.SOURCES[name], *ops.OPTIONAL)
    return [tensors.get(n) for n in names], options.integers(), options.floats()


def overload(name: str, direction: str) -> Any:
    return getattr(torch.ops.capsroute, f"{name}_{direction}").default


@covering(name=list(ops.SOURCES), dtype=DTYPES, case=CASES, save=[True, False])
def test_forward(name: str, case: Case, dtype: torch.dtype, save: bool) -> None:
    check_forward(name, case, dtype, save)


def check_forward(name: str, case: Case, dtype: torch.dtype, save: bool, backend: str = "cpu") -> None:
    tensors, integers, floats = common_arguments(name, case, dtype, backend)
    torch.library.opcheck(overload(name, "forward"), (*tensors, integers, floats, save))


@covering(name=list(ops.SOURCES), dtype=DTYPES, case=CASES, wanted=["all", "none but the first", "none but the last"])
def test_backward(name: str, case: Case, dtype: torch.dtype, wanted: str) -> None:
    check_backward(name, case, dtype, wanted)


def check_backward(name: str, case: Case, dtype: torch.dtype, wanted: str, backend: str = "cpu") -> None:
    tensors, integers, floats = common_arguments(name, case, dtype, backend)
    _, *saved = overload(name, "forward")(*tensors, integers, floats, True)
    differentiable = tensors[: len(ops.SOURCES[name]) + ops.DIFFERENTIABLE]
    given = [k for k, t in enumerate(differentiable) if t is not None]
    kept = {"all": given, "none but the first": given[:1], "none but the last": given[-1:]}[wanted]
    needed = [k in kept for k in range(len(differentiable))]
    arguments = (case.output_gradient(dtype), *tensors, *saved, integers, floats, needed)
    torch.library.opcheck(overload(name, "backward"), arguments)


@covering(name=list(ops.SOURCES), dtype=DTYPES, case=FEW)
def test_on_each_backend(name: str, case: Case, dtype: torch.dtype, backend: str) -> None:
    """Schemas, fakes and Python are the same everywhere; that they hold for a device needs a few cases."""
    check_forward(name, case, dtype, True, backend)
    check_backward(name, case, dtype, "all", backend)


@NAMES
def test_votes_and_arguments_of_any_strides(name: str) -> None:
    """What the fakes say of strides holds for arguments that are not contiguous."""
    tensors, integers, floats = common_arguments(name, CASES[1], torch.float32)
    transposed = [None if t is None else t.transpose(0, -1).contiguous().transpose(0, -1) for t in tensors]
    torch.library.opcheck(overload(name, "forward"), (*transposed, integers, floats, True))
    _, *saved = overload(name, "forward")(*transposed, integers, floats, True)
    grad = CASES[1].output_gradient(torch.float32).transpose(0, -1).contiguous().transpose(0, -1)
    needed = [t is not None for t in tensors[: len(ops.SOURCES[name]) + ops.DIFFERENTIABLE]]
    torch.library.opcheck(overload(name, "backward"), (grad, *transposed, *saved, integers, floats, needed))
