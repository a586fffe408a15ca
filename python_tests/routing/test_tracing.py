"""Doors that see a call as a node or an op: torch.fx, torch.jit.trace, meta and fake tensors, FLOP counters."""

from __future__ import annotations

import io
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.fx
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

import capsroute
from capsroute.models import PRESETS, CapsNet
from capsroute.nn import (
    CapsuleLayer,
    ConvCapsules2d,
    ConvTransposeCapsules2d,
    InterestCapsules,
    LabelAwareAttention,
    MarginLoss,
    PrimaryCapsules,
    ReconstructionDecoder,
    interest_counts,
    interest_mask,
)
from capsroute.routing import flops, passes

from .cases import Case, option_cases

LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "CapsuleLayer": (lambda: CapsuleLayer(12, 5, 3, 6, bias=True, learnable_logits=True), (12, 5)),
    "ConvCapsules2d": (lambda: ConvCapsules2d(2, 4, 3, 5, 3), (2, 4, 6, 6)),
    "ConvTransposeCapsules2d": (lambda: ConvTransposeCapsules2d(2, 4, 3, 5, 3, 2), (2, 4, 6, 6)),
    "InterestCapsules 2": (lambda: InterestCapsules(8, 4, max_items=6), (6, 8)),
    "InterestCapsules 0": (
        lambda: InterestCapsules(8, 4, bilinear_type=0, initial_logits="fixed", max_items=6, vote_bias=True),
        (6, 8),
    ),
    "PrimaryCapsules": (lambda: PrimaryCapsules(3, 2, 4, 3), (3, 9, 9)),
    "ReconstructionDecoder": (lambda: ReconstructionDecoder(3, 6, (1, 4, 4), (8,)), (3, 6)),
    "CapsNet": (lambda: CapsNet(**PRESETS["digits"]), (1, 8, 8)),
}


def _first(result: Any) -> Tensor:
    return result if isinstance(result, Tensor) else result[0]


@pytest.mark.parametrize("name", list(LAYERS))
def test_symbolic_trace(name: str) -> None:
    """By itself and inside another module: the same numbers, and in a network a layer is one node."""
    make, shape = LAYERS[name]
    layer, x = make(), torch.rand(2, *shape)
    for module in (layer, nn.Sequential(layer, nn.Identity())):
        traced = torch.fx.symbolic_trace(module)
        traced.graph.lint()
        torch.testing.assert_close(traced(x), module(x))
    if name != "CapsNet":
        assert "0" in {node.target for node in traced.graph.nodes if node.op == "call_module"}


def test_functions_are_nodes() -> None:
    """All of them, whichever argument is traced; and the loss."""
    weight = torch.randn(12, 3, 6, 5)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.loss = LabelAwareAttention(), MarginLoss()

        def forward(self, x: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
            mask = interest_mask(interest_counts(lengths, 3), 3)
            routed = capsroute.dynamic_routing(x, weight, output_mask=mask, iterations=2)
            votes = capsroute.nn.squash(capsroute.reference.prediction_vectors(x, weight))
            again = capsroute.route_votes(votes, details=("coupling",)).output
            user = self.attention(routed + again, routed[:, 0], mask)
            return user.sum() + self.loss(capsroute.nn.capsule_lengths(routed), target)

    given = torch.randn(4, 12, 5), torch.tensor([1, 3, 8, 9]), torch.tensor([0, 1, 2, 0])
    traced = torch.fx.symbolic_trace(Net())
    torch.testing.assert_close(traced(*given), Net()(*given))
    called = {node.target for node in traced.graph.nodes if node.op == "call_function"}
    assert {capsroute.dynamic_routing, capsroute.route_votes, capsroute.nn.squash, interest_mask} <= called


def test_a_graph_refuses_what_it_was_not_traced_for() -> None:
    traced = torch.fx.symbolic_trace(CapsNet(**PRESETS["digits"]))
    with pytest.raises(AssertionError, match="reconstruct was left at True when this graph was traced"):
        traced(torch.rand(2, 1, 8, 8), reconstruct=False)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", list(LAYERS))
def test_jit_trace(name: str) -> None:
    """Traced with gradients, saved and loaded: numbers and gradients at another batch size."""
    make, shape = LAYERS[name]
    layer = make()
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(layer, torch.rand(2, *shape)), file)
    file.seek(0)
    loaded = torch.jit.load(file)
    results = []
    x = torch.rand(5, *shape)
    for module in (layer, loaded):
        given = x.clone().requires_grad_()
        output = _first(module(given))
        learned = [given, *(p for n, p in module.named_parameters() if not n.startswith("decoder"))]
        weighing = torch.linspace(-1, 1, output.numel()).view_as(output)
        results.append([output, *torch.autograd.grad(output, learned, weighing)])
    torch.testing.assert_close(results[1], results[0])


def test_meta_and_fake_tensors(recwarn: pytest.WarningsRecorder) -> None:
    """Shapes, dtypes and strides of output, details and gradients are those of a real call; nobody is warned."""
    for case in option_cases()[::3]:
        real, function = case.arguments(), getattr(capsroute, case.entry)
        details = ("coupling", "pre_squash", "agreement")
        expected = _described(function, real, case)
        mode = FakeTensorMode()
        for stand_in in (lambda t: t.to("meta"), mode.from_tensor):
            given = {name: stand_in(tensor) for name, tensor in real.items()}
            with mode if stand_in == mode.from_tensor else nullcontext():
                assert _described(function, given, case) == expected, str(case)
                assert function(**given, **case.options(), details=details).agreement.dim() == 3
    with torch.device("meta"):
        assert CapsNet(**PRESETS["digits"])(torch.rand(2, 1, 8, 8)).lengths.is_meta
        items = InterestCapsules(8, 4, bilinear_type=0)
        assert items(torch.rand(2, 6, 8), counts=torch.ones(2, dtype=torch.int64)).shape == (2, 4, 8)
    assert not [warning for warning in recwarn if "capsroute" in str(warning.message)]


def _described(function: Any, tensors: dict[str, Tensor], case: Case) -> list[tuple[Any, ...]]:
    leaves = {n: t.detach().requires_grad_() if t.is_floating_point() else t for n, t in tensors.items()}
    output = function(**leaves, **case.options())
    output.backward(torch.ones_like(output))
    found = [output, *(t.grad for t in leaves.values() if t.grad is not None)]
    return [(tuple(t.shape), t.dtype, t.stride()) for t in found]


@pytest.mark.parametrize("gradient", ["all", "last"])
@pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
def test_flops(entry: str, gradient: str) -> None:
    """Forward and backward by the convention; what it has more than the counter sees of plain PyTorch is explained."""
    case = Case((5, 6, 4, 5, 3), iterations=3, entry=entry)
    size = 4 if entry == "dynamic_routing" else 0
    votes = case.votes()
    tensors = {n: t.requires_grad_() for n, t in case.arguments().items()}

    def count(function: Any) -> tuple[int, int]:
        with FlopCounterMode(display=False) as counter:
            output = function(**tensors, gradient=gradient)
            forward = counter.get_total_flops()
            output.sum().backward()
        return forward, counter.get_total_flops() - forward

    forward, backward = count(getattr(capsroute, entry))
    assert (forward, backward) == (flops.forward(votes, size, 3), flops.backward(votes, size, 3, gradient))
    plain, _ = count(getattr(capsroute.reference, entry))
    # The reference makes the votes once, where the kernels make them in each pass. The counter sees its three sums as
    # products, but neither its two agreements, which are elementwise, nor that the first sum is a plain one.
    assert forward - plain == 2 * votes * (2 * size + 2 - 1)


def test_flops_of_the_other_ops() -> None:
    x, weight, query = torch.randn(5, 6, 4), torch.randn(6, 5, 3, 4), torch.randn(5, 5, 3)
    votes, tensors = 5 * 6 * 5 * 3, (x, weight, *[None] * 5)
    options = capsroute.routing.options.DEFAULTS
    needed = [True] * 2 + [False] * 3
    every = torch.stack([query] * 3)
    for call, expected in (
        (lambda: capsroute.routing.ops.agreement("dynamic_routing", (x, weight), query, options), votes * 2 * 5),
        (lambda: passes.forward_pass("dynamic_routing", tensors, query, 2, options), votes * 2 * 6),
        (
            lambda: passes.backward_pass("dynamic_routing", tensors, (query, query, None, None), 2, options),
            votes * 2 * 7,
        ),
        (
            lambda: passes.last_pass("dynamic_routing", tensors, (every, every, None, None), options, needed),
            votes * 2 * (4 + 4 + 5 + 8),
        ),
    ):
        with FlopCounterMode(display=False) as counter:
            call()
        assert counter.get_total_flops() == expected
