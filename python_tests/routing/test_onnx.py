"""ONNX files of the functions, by both exporters, run by onnxruntime at other batch sizes than the exporter saw."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import capsroute
from capsroute.routing.options import GRADIENTS, LOGIT_UPDATES, SOFTMAX_AXES, SQUASHES

# What the exporters use themselves is deprecated here and there.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "FutureWarning", "UserWarning")
]

BATCH, INPUTS, SIZE, OUTPUTS, OUTPUT_SIZE = 3, 6, 4, 5, 3
PER_SAMPLE = {
    "x": (SIZE,),
    "votes": (OUTPUTS, OUTPUT_SIZE),
    "prior": (OUTPUTS,),
    "input_weight": (),
    "input_mask": (),
    "output_mask": (OUTPUTS,),
}  # axes behind B and I; the output mask has no I
OPTIONS: list[dict[str, Any]] = [
    *({"squash": squash} for squash in SQUASHES),
    *({"softmax_over": axis} for axis in SOFTMAX_AXES),
    *({"gradient": gradient} for gradient in GRADIENTS),
    *({"logit_update": update} for update in LOGIT_UPDATES),
    {"leaky": True},
    {"iterations": 1},
    {"iterations": 3, "temperature": (1.6, 1.3, 1.0), "agreement_factor": 0.7},
    {"squash": "power", "squash_constant": 1.3, "eps": 0.0},
]
MASKS = ("input_mask", "output_mask")
PRIORS = [
    {"logits": "shared"},
    {"logits": "prior"},
    {"coupling": "shared"},
    {"coupling": "prior"},
]


def _samples(batch: int) -> dict[str, Tensor]:
    """Tensors of a batch; in its last sample nothing is present."""
    torch.manual_seed(batch)
    found = {}
    for name, axes in PER_SAMPLE.items():
        shape = (batch, *axes) if name == "output_mask" else (batch, INPUTS, *axes)
        found[name] = torch.rand(shape) < 0.7 if name in MASKS else torch.randn(shape)
        if name in MASKS:
            found[name][-1] = False
    return found


class Calls(nn.Module):
    """The functions in turn, with every option, each mask, prior and weight, and with all that go together.

    Args:
        every: How many of these calls share one place: 1 for all of them.
    """

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(2, OUTPUTS, OUTPUT_SIZE, SIZE))  # of I_w = 2: every second input
        self.bias = nn.Parameter(torch.randn(OUTPUTS, OUTPUT_SIZE))
        self.shared = nn.Parameter(torch.randn(INPUTS, OUTPUTS))

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        samples = dict(zip(PER_SAMPLE, given, strict=True))
        optional = {"bias": self.bias} | {name: samples[name] for name in ("input_weight", *MASKS)}
        calls: list[dict[str, Any]] = [{}, *OPTIONS, *({name: value} for name, value in optional.items())]
        for prior, more in itertools.product(PRIORS, ({}, optional)):
            ((name, source),) = prior.items()
            calls.append({name: self.shared if source == "shared" else samples["prior"], **more})
        calls.append({**optional, "softmax_over": "inputs", "logits": self.shared})
        return tuple(
            capsroute.route_votes(samples["votes"], **{"iterations": 2, **call})
            if number % 2
            else capsroute.dynamic_routing(samples["x"], self.weight, **{"iterations": 2, **call})
            for number, call in enumerate(calls)
            if number % self.every == 0
        )


@pytest.mark.parametrize(
    ("dynamo", "every"), [(False, 1), (True, 13), pytest.param(True, 1, marks=pytest.mark.nightly)]
)
def test_every_option_by_onnxruntime(dynamo: bool, every: int, tmp_path: Path) -> None:
    model, path = Calls(every).eval(), tmp_path / "calls.onnx"
    samples = tuple(_samples(BATCH).values())
    any_batch = torch.export.Dim("batch")
    sizes: dict[str, Any] = (
        {"dynamic_shapes": (tuple({0: any_batch} for _ in samples),), "verbose": False}
        if dynamo
        else {"input_names": list(PER_SAMPLE), "dynamic_axes": {name: {0: "batch"} for name in PER_SAMPLE}}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, samples, str(path), dynamo=dynamo, **sizes)
    session = onnxruntime.InferenceSession(str(path))
    for batch in (1, 5, 8):
        given = tuple(_samples(batch).values())
        fed = {node.name: tensor.numpy() for node, tensor in zip(session.get_inputs(), given, strict=True)}
        with torch.no_grad():
            expected = model(*given)
        for call, (got, right) in enumerate(zip(session.run(None, fed), expected, strict=True)):
            error = (torch.from_numpy(got) - right).abs().max() / right.abs().max().clamp_min(1e-3)
            assert error <= 1e-5, f"call {call} with {batch} samples is off by {error:.1e}"


def test_a_program_that_was_exported_before(tmp_path: Path) -> None:
    """It holds the op, which decompositions replace; details come from what the op saves."""

    class Routed(nn.Module):
        def forward(self, x: Tensor, weight: Tensor) -> tuple[Tensor | None, ...]:
            plain = capsroute.dynamic_routing(x, weight, softmax_over="inputs")
            return plain, *capsroute.dynamic_routing(x, weight, details=("coupling", "pre_squash", "agreement"))

    x, weight = torch.randn(3, 6, 4), torch.randn(6, 5, 3, 4)
    program = torch.export.export(Routed().eval(), (x, weight))
    assert any("capsroute" in str(node.target) for node in program.graph.nodes)
    plain = program.run_decompositions(capsroute.decompositions())
    assert not any("capsroute" in str(node.target) for node in plain.graph.nodes)
    for got, right in zip(plain.module()(x, weight), Routed()(x, weight), strict=True):
        torch.testing.assert_close(got, right, rtol=1e-5, atol=1e-6)
    torch.onnx.export(plain, (x, weight), str(tmp_path / "plain.onnx"), verbose=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "plain.onnx"))
    got, *_ = session.run(None, {"x": x.numpy(), "weight": weight.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), Routed()(x, weight)[0], rtol=1e-5, atol=1e-6)
