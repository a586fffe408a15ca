"""Each CUDA kernel in small, with nothing else on the device: what compute-sanitizer looks at.

Under its tools every kernel runs many times slower, those of torch too. So arguments are made on the CPU, and results
are held to float64 there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from capsroute import reference, testing
from capsroute.routing import ops
from capsroute.routing.options import RoutingOptions

from .. import kernels
from ..covering import covering
from .cases import Case, Tensors, votes_of
from .compare import assert_matches_reference, fused

kernels.require()
KERNELS = [("plain", "automatic"), ("fused", "grid"), ("fused", "cluster"), ("fused", "launches")]
CHOSEN = pytest.mark.parametrize("chosen", KERNELS, ids="-".join)
# For each instantiation as many outputs as one warp holds, where nothing sweeps, and more.
OUTPUTS = {8: (5, 19), 16: (10, 13), 32: (4, 5), 64: (2, 3)}


@pytest.fixture(autouse=True)
def _on_the_cpu(cuda_backend: str) -> Iterator[None]:
    torch.set_default_device("cpu")
    yield
    torch.set_default_device(None)


def check(case: Case, dtype: torch.dtype, tensors: Tensors, backend: str) -> None:
    grad = case.output_gradient(dtype)
    place = "cuda" if backend == "cuda" else "cpu"
    there = {name: tensor.to(place) for name, tensor in tensors.items()}
    found = {name: tensor.cpu() for name, tensor in fused(there, case.options(), grad.to(place)).items()}
    assert_matches_reference(tensors, case.options(), grad, actual=found)


@covering(
    chosen=KERNELS, size=list(OUTPUTS), many=[False, True], softmax=["outputs", "inputs"],
    dtype=[torch.float32, torch.bfloat16],
)  # fmt: skip
def test_each_instantiation(
    chosen: tuple[str, str], size: int, many: bool, softmax: str, dtype: torch.dtype, cuda_backend: str
) -> None:
    kernels.require_fusion(chosen[1], cuda_backend)
    case = Case((19, 9, 9, OUTPUTS[size][many], size - 1), softmax=softmax)
    with testing.cuda_kernel(*chosen):
        check(case, dtype, case.tensors(dtype), cuda_backend)


EVERYTHING = Case(
    (37, 6, 5, 11, 12), weights="half", bias=True, logits="shared", input_weight=True, input_mask=True,
    output_mask=True, softmax="leaky", squash="exponential", temperature="falling",
)  # fmt: skip
OPTIONS = [
    EVERYTHING,
    dataclasses.replace(
        EVERYTHING, softmax="inputs", logits="sample", gradient="detached_votes", logit_update="replace"
    ),
    dataclasses.replace(EVERYTHING, weights="shared", gradient="last", iterations=1),
    dataclasses.replace(EVERYTHING, softmax="outputs", temperature="one", given=True, logits="sample", iterations=1),
]


@CHOSEN
@pytest.mark.parametrize("case", OPTIONS, ids=str)
@pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
def test_options(chosen: tuple[str, str], case: Case, entry: str, cuda_backend: str) -> None:
    kernels.require_fusion(chosen[1], cuda_backend)
    tensors = case.tensors(torch.float32)
    with testing.cuda_kernel(*chosen):
        check(case, torch.float32, votes_of(tensors) if entry == "route_votes" else tensors, cuda_backend)


@pytest.mark.parametrize("tiles", [1, 2, 4, 8])
@pytest.mark.parametrize("fusion", ["grid", "launches"])
def test_divisions(tiles: int, fusion: str, cuda_backend: str) -> None:
    """Blocks of one tile and of many, and a last pass in as many parts as there can be."""
    case = Case((130, 12, 8, 5, 16), logits="shared")
    division = testing.cuda_division(tiles=tiles, last_outputs=2, last_warps=1000)
    with testing.cuda_kernel("fused", fusion), division:
        check(case, torch.float32, case.tensors(torch.float32), cuda_backend)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_agreement(dtype: torch.dtype, cuda_backend: str) -> None:
    case = Case((17, 6, 5, 7, 12))
    x, weight = case.tensors(dtype).values()
    query = case.output_gradient(dtype)
    place = "cuda" if cuda_backend == "cuda" else "cpu"
    there = [tensor.to(place) for tensor in (x, weight, query)]
    found = ops.agreement("dynamic_routing", there[:2], there[2], RoutingOptions(backend=cuda_backend)).cpu()
    truth = torch.einsum("bijp,bjp->bij", reference.prediction_vectors(x.double(), weight.double()), query.double())
    assert (found.double() - truth).abs().max() <= 1e-6 * truth.abs().max()
