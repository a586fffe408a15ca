"""``torch.library.opcheck`` of the registered ops: schema, fakes, hidden mutation or aliasing, dynamic shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from capsroute.routing import ops
from capsroute.routing.options import CUDA_FUSIONS, CUDA_KERNELS, RoutingOptions

from .cases import Case, option_cases, votes_of

CASES = [
    *option_cases()[::2],
    Case((0, 6, 4, 5, 3), bias=True, logits="sample", input_mask=True),
    Case((1, 1, 1, 1, 1)),
]
FEW = [
    Case((5, 6, 4, 5, 3)),
    Case((3, 6, 4, 5, 3), bias=True, logits="sample", input_mask=True, output_mask=True, softmax="inputs"),
    Case((0, 6, 4, 5, 3), bias=True, logits="shared"),
]
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
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


@NAMES
@DTYPES
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("save", [True, False])
def test_forward(name: str, case: Case, dtype: torch.dtype, save: bool) -> None:
    check_forward(name, case, dtype, save)


def check_forward(name: str, case: Case, dtype: torch.dtype, save: bool, backend: str = "cpu") -> None:
    tensors, integers, floats = common_arguments(name, case, dtype, backend)
    torch.library.opcheck(overload(name, "forward"), (*tensors, integers, floats, save))


@NAMES
@DTYPES
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("wanted", ["all", "none but the first", "none but the last"])
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


@NAMES
@DTYPES
@pytest.mark.parametrize("case", FEW, ids=str)
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


@pytest.mark.parametrize("case", option_cases(), ids=str)
def test_options_are_unpacked_as_packed(case: Case) -> None:
    given = case.options()
    if isinstance(given["temperature"], tuple) and case.iterations == 1:
        given["temperature"] = given["temperature"][0]  # one number for each of one iteration is one for all
    options = RoutingOptions(backend="cpu", **given)
    unpacked = RoutingOptions.unpack(options.integers(), options.floats())
    assert unpacked == options._replace(squash_constant=unpacked.squash_constant)
    assert unpacked.floats() == options.floats()


def test_options_of_details_and_coupling_are_unpacked_as_packed() -> None:
    given = RoutingOptions(coupling_given=True, squash_output=False, iterations=1)
    assert RoutingOptions.unpack(given.integers(), given.floats()) == given


@pytest.mark.parametrize("chosen", CUDA_KERNELS)
@pytest.mark.parametrize("fusion", CUDA_FUSIONS)
@pytest.mark.parametrize("allow_tf32", [None, False, True])
def test_options_of_cuda_are_unpacked_as_packed(chosen: str, fusion: str, allow_tf32: bool | None) -> None:
    options = RoutingOptions(backend="cuda", allow_tf32=allow_tf32, cuda_kernel=chosen, cuda_fusion=fusion)
    assert RoutingOptions.unpack(options.integers(), options.floats()) == options


def test_options_of_an_older_program_get_defaults() -> None:
    """Lists may grow at their end; what an exported program lacks takes the default of today."""
    assert RoutingOptions.unpack([4, 1], []) == RoutingOptions(iterations=4, softmax_over="inputs")
    assert RoutingOptions.unpack([3, 0, 0, 0, 1], [1e-8]) == RoutingOptions(backend="cpu")
