"""The CUDA kernels, emulated and real: each kernel, each fusion over passes, each instantiation at its edges, TF32."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch

import capsroute
from capsroute import reference, testing
from capsroute.routing import ops
from capsroute.routing.options import RoutingOptions

from .. import kernels
from ..covering import covering
from ..lanes import EVERYTHING
from .cases import DTYPES, ENTRIES, Case, evaluate, votes_of
from .compare import assert_bitwise_equal, assert_matches_reference, fused

kernels.require()
HALF_AND_SINGLE = [torch.float32, torch.bfloat16, torch.float16]
# Outputs that a warp of the fused kernels holds, by the largest D of an instantiation: plan.h.
OUTPUTS_PER_WARP = {8: 16, 16: 10, 32: 4, 64: 2}


def arguments(case: Case, entry: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return dataclasses.replace(case, entry=entry).arguments(dtype)


def check(case: Case, dtype: torch.dtype, entry: str = "dynamic_routing") -> None:
    assert_matches_reference(arguments(case, entry, dtype), case.options(), case.output_gradient(dtype))


AGREEMENT_CASES = [Case((17, 6, 8, 10, 16)), Case((3, 6, 3, 7, 65), weights="half"), Case((33, 4, 1, 1, 2))]


@covering(case=AGREEMENT_CASES, dtype=DTYPES, entry=ENTRIES)
def test_agreement(case: Case, dtype: torch.dtype, entry: str, cuda_backend: str) -> None:
    """The products of the votes with given vectors; votes of any strides."""
    sources = list(arguments(case, entry, dtype).values())
    votes = votes_of(case.tensors(dtype))["votes"].double()
    if entry == "route_votes":
        sources = [sources[0].permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0)]
        assert not sources[0].is_contiguous()
    else:
        votes = reference.prediction_vectors(*(source.double() for source in sources))
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    query = case.output_gradient(exact)
    found = ops.agreement(entry, sources, query, RoutingOptions(backend=cuda_backend))
    truth = torch.einsum("bijp,bjp->bij", votes, query.double())
    assert found.dtype == exact
    assert (found.double() - truth).abs().max() <= (1e-13 if exact == torch.float64 else 1e-6) * truth.abs().max()


def instantiation_edges() -> list[Case]:
    """For each instantiation: D at both its ends, and J around what one and two warps hold."""
    cases = []
    smallest = 1
    for largest, outputs in OUTPUTS_PER_WARP.items():
        for count in (outputs - 1, outputs, outputs + 1, 2 * outputs, 2 * outputs + 1):
            for k, size in enumerate(sorted({smallest, largest - 1, largest})):
                softmax = ("outputs", "inputs", "leaky")[(k + count) % 3]
                cases.append(Case((17, 5, 9, count, size), softmax=softmax, logits="shared", bias=True))
        smallest = largest + 1
    return cases


@pytest.mark.parametrize(("number", "case"), list(enumerate(instantiation_edges())), ids=str)
def test_edges_of_each_instantiation(number: int, case: Case, cuda_backend: str) -> None:
    kinds = [(gradient, dtype) for gradient in ("all", "last") for dtype in (torch.float32, torch.bfloat16)]
    for gradient, dtype in kinds if EVERYTHING else [kinds[number % len(kinds)]]:
        with testing.cuda_kernel("fused"):
            check(dataclasses.replace(case, gradient=gradient), dtype)


@covering(batch=[1, 15, 16, 17, 31, 32, 33, 49], inputs=[1, 7, 40], fusion=kernels.FUSIONS)
def test_edges_of_tiles_and_chunks(batch: int, inputs: int, fusion: str, cuda_backend: str) -> None:
    kernels.require_fusion(fusion, cuda_backend)
    with testing.cuda_kernel("fused", fusion):
        check(Case((batch, inputs, 8, 11, 16)), torch.float32)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 64, 65])
def test_input_sizes(size: int, cuda_backend: str) -> None:
    """The fused kernels where they take this d, the plain one elsewhere."""
    check(Case((18, 6, size, 10, 16)), torch.bfloat16 if size % 2 else torch.float32)


FUSION_CASES = [
    Case((37, 33, 5, 7, 12), iterations=4, bias=True, logits="sample"),
    Case((17, 20, 8, 23, 16), softmax="inputs", input_mask=True, output_mask=True),
    Case((5, 24, 16, 9, 33), softmax="leaky", weights="half", gradient="last"),
    Case(
        (17, 20, 8, 23, 16), logits="shared", input_weight=True, gradient="detached_votes", squash="exponential",
        temperature="falling", agreement_factor=0.6,
    ),
]  # fmt: skip


@covering(case=FUSION_CASES, batch=[5, 16], entry=ENTRIES)
def test_launches_are_the_grid_bit_by_bit(case: Case, batch: int, entry: str, cuda_backend: str) -> None:
    """The same phases in the same order, whether the blocks meet or start anew.

    With one tile of samples both divide the work alike; with more, each divides it as is cheapest for itself.
    """
    case = dataclasses.replace(case, sizes=(batch, *case.sizes[1:]))
    tensors, grad = arguments(case, entry, torch.float32), case.output_gradient(torch.float32)
    with testing.cuda_kernel("fused", "grid"):
        grid = fused(tensors, case.options(), grad)
    with testing.cuda_kernel("fused", "launches"):
        launches = fused(tensors, case.options(), grad)
    assert_bitwise_equal(launches, grid)


DIVIDED_CASES = [
    Case((130, 9, 8, 10, 16), bias=True, logits="shared"),
    Case((130, 6, 12, 23, 8), weights="half", softmax="leaky", input_mask=True),
    Case((130, 7, 3, 5, 33), weights="shared", softmax="inputs", input_weight=True),
]


@covering(case=DIVIDED_CASES, tiles=[1, 2, 4, 8], fusion=kernels.FUSIONS, entry=ENTRIES)
def test_any_number_of_tiles_in_a_block(case: Case, tiles: int, fusion: str, entry: str, cuda_backend: str) -> None:
    kernels.require_fusion(fusion, cuda_backend)
    with testing.cuda_kernel("fused", fusion), testing.cuda_division(tiles=tiles):
        check(case, torch.float32, entry)
        assert f" of {tiles} tiles " in capsroute.explain(**case.tensors(torch.float32), **case.options())


@covering(case=DIVIDED_CASES, outputs=[1, 3, 1000], warps=[1, 1000], dtype=[torch.float32, torch.bfloat16])
def test_any_division_of_the_last_pass(
    case: Case, outputs: int, warps: int, dtype: torch.dtype, cuda_backend: str
) -> None:
    with testing.cuda_kernel("fused"), testing.cuda_division(last_outputs=outputs, last_warps=warps):
        check(case, dtype)


def test_a_division_is_taken_and_taken_back(cuda_backend: str) -> None:
    """Each figure changes the bits of what it divides, so none is passed over."""
    case = DIVIDED_CASES[0]
    tensors, grad = case.tensors(torch.float32), case.output_gradient(torch.float32)
    with testing.cuda_kernel("fused", "grid"):
        before = fused(tensors, case.options(), grad)
        for changed, division in (("output", {"tiles": 8}), ("x", {"last_outputs": 3}), ("weight", {"last_warps": 64})):
            with testing.cuda_division(**division):
                assert not torch.equal(fused(tensors, case.options(), grad)[changed], before[changed]), changed
        assert_bitwise_equal(fused(tensors, case.options(), grad), before)


def test_a_division_that_cannot_be_is_an_error(cuda_backend: str) -> None:
    tensors = dataclasses.replace(DIVIDED_CASES[0], sizes=(5, 9, 8, 10, 16)).tensors(torch.float32)
    with testing.cuda_division(tiles=8):
        assert "plain" in capsroute.explain(**tensors)
        with testing.cuda_kernel("fused"), pytest.raises(RuntimeError, match="cannot run this problem"):
            capsroute.dynamic_routing(**tensors)


@covering(
    case=FUSION_CASES,
    chosen=[("plain", "automatic"), ("fused", "grid"), ("fused", "cluster")],
    dtype=[torch.float32, torch.float16],
)
def test_runs_are_bit_identical(case: Case, chosen: tuple[str, str], dtype: torch.dtype, cuda_backend: str) -> None:
    kernels.require_fusion(chosen[1], cuda_backend)
    tensors, grad = case.tensors(dtype), case.output_gradient(dtype)
    with testing.cuda_kernel(*chosen):
        expected = fused(tensors, case.options(), grad)
        for _ in range(3):
            assert_bitwise_equal(fused(tensors, case.options(), grad), expected)


OPTION_EDGES = [
    # Outputs of more than one block of the last pass, which add to the same gradient of the input weights.
    Case((18, 5, 16, 23, 16), input_weight=True, input_mask=True),
    Case((18, 5, 16, 23, 16), input_weight=True, softmax="inputs", gradient="detached_votes", bias=True),
    # Outputs of more than one warp: an input weight makes the first iteration need its sums.
    Case((17, 6, 4, 21, 12), input_weight=True, iterations=1, softmax="leaky"),
    Case((17, 6, 4, 21, 12), given=True, logits="sample", input_weight=True, iterations=1, output_mask=True),
    Case((17, 6, 4, 21, 12), logits="shared", logit_update="replace", temperature="falling", squash="clamped"),
    # More iterations than there are factors.
    Case((4, 5, 3, 4, 5), logits="shared", logit_update="replace", temperature="low", iterations=36),
]


@covering(case=OPTION_EDGES, dtype=HALF_AND_SINGLE, fusion=kernels.FUSIONS, entry=ENTRIES)
def test_edges_of_options(case: Case, dtype: torch.dtype, fusion: str, entry: str, cuda_backend: str) -> None:
    kernels.require_fusion(fusion, cuda_backend)
    with testing.cuda_kernel("fused", fusion):
        check(case, dtype, entry)


@covering(chosen=["plain", "fused"], softmax=["outputs", "inputs"], outputs=[5, 21], entry=ENTRIES)
def test_weights_of_absent_inputs_are_never_used(
    chosen: str, softmax: str, outputs: int, entry: str, cuda_backend: str
) -> None:
    case = Case((17, 6, 4, outputs, 12), softmax=softmax, input_weight=True, input_mask=True)
    clean, grad = arguments(case, entry, torch.float32), case.output_gradient(torch.float32)
    absent = ~clean["input_mask"]
    poisoned = {**clean, "input_weight": clean["input_weight"].masked_fill(absent, torch.nan)}
    with testing.cuda_kernel(chosen):
        expected, found = fused(clean, case.options(), grad), fused(poisoned, case.options(), grad)
    assert_bitwise_equal(found, expected)
    assert (found["input_weight"][absent] == 0).all()


@pytest.mark.parametrize("chosen", ["plain", "fused"])
def test_initial_logits_that_are_replaced_are_never_used(chosen: str, cuda_backend: str) -> None:
    """From the second iteration on, infinite ones included; in the first they say that an output gets nothing."""
    case = Case((17, 6, 4, 11, 12), logits="sample", logit_update="replace")
    tensors, grad = case.tensors(torch.float32), case.output_gradient(torch.float32)
    shut = {**tensors, "logits": tensors["logits"].clone()}
    shut["logits"][:, :, 3] = -torch.inf
    shut["logits"][:, :, 7] = -torch.inf
    with testing.cuda_kernel(chosen):
        assert_matches_reference(shut, case.options(), grad)


def test_backward_keeps_the_kernel_of_its_forward(cuda_backend: str) -> None:
    case = FUSION_CASES[0]
    tensors, grad = case.tensors(torch.float32), case.output_gradient(torch.float32)
    expected = {}
    for kernel in ("plain", "fused"):
        with testing.cuda_kernel(kernel):
            expected[kernel] = fused(tensors, case.options(), grad)["x"]
    assert not torch.equal(expected["plain"], expected["fused"])  # or the test would prove nothing
    for kernel, other in (("plain", "fused"), ("fused", "plain")):
        leaf = tensors["x"].clone().requires_grad_()
        with testing.cuda_kernel(kernel):
            output = capsroute.dynamic_routing(**{**tensors, "x": leaf}, **case.options())
        with testing.cuda_kernel(other):
            (found,) = torch.autograd.grad(output, leaf, grad)
        assert torch.equal(found, expected[kernel])


def test_a_kernel_that_cannot_run_is_an_error(cuda_backend: str) -> None:
    """Tensor cores have no float64 here: forced, that is said; not forced, the plain kernel takes it."""
    tensors = FUSION_CASES[0].tensors()
    with testing.cuda_kernel("fused"), pytest.raises(RuntimeError, match="cannot run this problem"):
        capsroute.dynamic_routing(**tensors)
    assert "plain" in capsroute.explain(**tensors)


@pytest.mark.parametrize(("chosen", "fusion", "text"), [
    ("plain", "automatic", "plain"),
    ("fused", "grid", "cooperative launch"),
    ("fused", "cluster", "launch of clusters"),
    ("fused", "launches", "launch per pass"),
])  # fmt: skip
def test_explain_names_kernel_and_fusion(chosen: str, fusion: str, text: str, cuda_backend: str) -> None:
    kernels.require_fusion(fusion, cuda_backend)
    with testing.cuda_kernel(chosen, fusion):
        said = capsroute.explain(**FUSION_CASES[0].tensors(torch.float32))
    assert repr(cuda_backend) in said
    assert chosen in said
    assert text in said


@pytest.fixture
def tf32_allowed(cuda_backend: str) -> Iterator[None]:
    """torch's own switch turned on; only around the call, or the plain reference on a GPU would be rounded too."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


TF32_CASES = [
    Case((17, 20, 8, 10, 16), bias=True),
    Case((18, 12, 5, 7, 8), softmax="inputs", logits="shared"),
    Case((9, 8, 16, 3, 32), softmax="leaky", gradient="last"),
    Case((9, 8, 9, 3, 64)),
]


def largest_error(case: Case, found: dict[str, torch.Tensor]) -> float:
    """Of the results against float64, relative to the largest element of each."""
    tensors = {n: t.double() for n, t in case.tensors(torch.float32).items()}
    truth = evaluate(reference.dynamic_routing, tensors, case.options(), case.output_gradient(torch.float32).double())
    return max(float((found[n].double() - t).abs().max() / t.abs().max()) for n, t in truth.items())


@pytest.mark.parametrize("case", TF32_CASES, ids=str)
def test_tf32_rounds_operands_only_where_it_is_allowed(case: Case, tf32_allowed: None, cuda_backend: str) -> None:
    tensors, grad = case.tensors(torch.float32), case.output_gradient(torch.float32)
    with testing.cuda_kernel("fused"):
        rounded = fused(tensors, case.options(), grad)
        torch.backends.cuda.matmul.allow_tf32 = False
        faithful = fused(tensors, case.options(), grad)
    assert_matches_reference(tensors, case.options(), grad, actual=faithful)
    assert 1e-5 < largest_error(case, rounded) < 1e-2  # operands have 11 bits; routing amplifies that somewhat
    assert largest_error(case, faithful) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_tf32_is_for_float32_alone(dtype: torch.dtype, tf32_allowed: None, cuda_backend: str) -> None:
    case = TF32_CASES[0]
    tensors, grad = case.tensors(dtype), case.output_gradient(dtype)
    allowed = fused(tensors, case.options(), grad)
    torch.backends.cuda.matmul.allow_tf32 = False
    assert_bitwise_equal(allowed, fused(tensors, case.options(), grad))


def test_a_compiled_call_follows_the_switch(tf32_allowed: None, cuda_backend: str) -> None:
    """At the time when it runs, not when it was traced."""
    tensors = TF32_CASES[0].tensors(torch.float32)
    torch._dynamo.reset()
    compiled = torch.compile(capsroute.dynamic_routing, backend="aot_eager", fullgraph=True)
    outputs = []
    for allowed in (True, False, True):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        outputs.append(compiled(**tensors))
        assert torch.equal(outputs[-1], capsroute.dynamic_routing(**tensors))
    assert not torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def test_one_iteration_and_many(cuda_backend: str) -> None:
    for iterations in (1, 2, 6):
        for softmax in ("outputs", "inputs"):
            case = Case((17, 9, 8, 10, 16), softmax=softmax, iterations=iterations)
            with testing.cuda_kernel("fused"):
                check(case, torch.float32)
