"""``torch.compile(fullgraph=True)`` and ``torch.export``: forward and backward, static and dynamic sizes."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

import capsroute

from .cases import Case, Routing, Tensors, evaluate, votes_of
from .compare import assert_bitwise_equal, fused

ENTRY = pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
# All sizes differ, or torch would take equal ones for one and the same in every call.
SIZES = (9, 12, 4, 5, 3)
CASES = [
    Case(SIZES),
    Case(SIZES, bias=True, logits="shared", softmax="inputs", weights="half"),
    Case(SIZES, logits="sample", input_mask=True, output_mask=True, softmax="leaky", gradient="last"),
    Case(SIZES, bias=True, input_weight=True, squash="power", logit_update="replace", temperature="falling"),
    Case(SIZES, logits="sample", given=True, iterations=1, input_weight=True, squash="shifted", weights="half"),
]


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> Iterator[None]:
    """No graphs from other tests, and an error in place of a silent stop when recompiling goes on and on."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True, recompile_limit=4):
        yield
    torch._dynamo.reset()


def arguments(case: Case, entry: str, seed: int = 0) -> Tensors:
    tensors = case.tensors(torch.float32, seed)
    return votes_of(tensors) if entry == "route_votes" else tensors


def check(compiled: Routing, case: Case, entry: str) -> None:
    tensors, grad = arguments(case, entry), case.output_gradient(torch.float32)
    assert_bitwise_equal(evaluate(compiled, tensors, case.options(), grad), fused(tensors, case.options(), grad))


@ENTRY
@pytest.mark.parametrize("case", CASES, ids=str)
def test_static_sizes(entry: str, case: Case, backend: str) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(getattr(capsroute, entry), backend=counter, fullgraph=True, dynamic=False)
    check(compiled, case, entry)
    check(compiled, case, entry)
    assert counter.frame_count == 1


@ENTRY
@pytest.mark.parametrize("case", CASES, ids=str)
def test_dynamic_sizes_compile_once(entry: str, case: Case, backend: str) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(getattr(capsroute, entry), backend=counter, fullgraph=True, dynamic=True)
    check(compiled, case, entry)
    at_first = counter.frame_count
    for sizes in [(33, 12, 4, 5, 3), (5, 16, 6, 7, 4), (2, 34, 7, 3, 11)]:
        check(compiled, Case(**{**vars(case), "sizes": sizes}), entry)
    assert counter.frame_count == at_first


@ENTRY
def test_a_changing_batch_size_recompiles_once(entry: str, backend: str) -> None:
    """The default of torch.compile: static at first, then dynamic in the batch, then no more."""
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(getattr(capsroute, entry), backend=counter, fullgraph=True)
    for batch in (9, 17, 33, 64, 5, 128):
        check(compiled, Case((batch, 8, 4, 5, 3)), entry)
    assert counter.frame_count == 2


@pytest.mark.parametrize("dynamic", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_inductor(dynamic: bool, backend: str) -> None:
    """The op inside a small network, forward and backward, through generated code on both sides of it."""

    def network(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        routed = capsroute.dynamic_routing(torch.relu(x) + 0.1, weight * 2, bias)
        again = capsroute.route_votes(routed[:, None] * torch.arange(1.0, 4.0)[None, :, None, None])
        return again.norm(dim=-1) + routed.sum(-1)

    compiled = torch.compile(network, fullgraph=True, dynamic=dynamic)
    for sizes in [(9, 8, 4, 5, 3), (17, 6, 4, 5, 3)] if dynamic else [(9, 8, 4, 5, 3)]:
        case = Case(sizes, bias=True)
        tensors = case.tensors(torch.float32)
        grad = case.output_gradient(torch.float32).sum(-1)
        expected = evaluate(network, tensors, {}, grad)
        for name, t in evaluate(compiled, tensors, {}, grad).items():
            torch.testing.assert_close(t, expected[name], rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


class Layer(torch.nn.Module):
    """A routing layer with every optional tensor."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        tensors = case.tensors(torch.float32)
        self.options = case.options()
        self.weight = torch.nn.Parameter(tensors["weight"])
        self.bias = torch.nn.Parameter(tensors["bias"])
        self.logits = torch.nn.Parameter(tensors["logits"])

    def forward(self, x: torch.Tensor, input_mask: torch.Tensor) -> torch.Tensor:
        routed = capsroute.dynamic_routing(
            x, self.weight, self.bias, logits=self.logits, input_mask=input_mask, **self.options
        )
        return routed + capsroute.route_votes(routed[:, None])


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("softmax", ["leaky", "inputs"])
def test_export(dynamic: bool, softmax: str, backend: str) -> None:
    """An exported program, saved and loaded, computes the same, for other batch sizes too if asked for."""
    case = Case((9, 8, 4, 5, 3), bias=True, logits="shared", input_mask=True, softmax=softmax)
    layer, tensors = Layer(case), case.tensors(torch.float32)
    batch = torch.export.Dim("batch", min=2)
    shapes = {"x": {0: batch}, "input_mask": {0: batch}} if dynamic else None
    program = torch.export.export(layer, (tensors["x"], tensors["input_mask"]), dynamic_shapes=shapes)
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert any(name.startswith("capsroute.") for name in names), names
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    loaded = torch.export.load(buffer).module()
    for size in (9, 21) if dynamic else (9,):
        other = Case(**{**vars(case), "sizes": (size, *case.sizes[1:])}).tensors(torch.float32, seed=5)
        assert torch.equal(loaded(other["x"], other["input_mask"]), layer(other["x"], other["input_mask"]))
