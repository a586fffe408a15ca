"""Samples without any input, or without any output: values, gradients, and no NaN, for every squash."""

from __future__ import annotations

import torch

import capsroute
from capsroute import reference, testing
from capsroute.routing.options import GRADIENTS, SOFTMAX_AXES, SQUASHES, RoutingOptions

from ..covering import covering
from .cases import Case, evaluate


@covering(squash=SQUASHES, gradient=GRADIENTS, softmax_over=SOFTMAX_AXES, eps=[0.0, 1e-8])
def test_samples_without_inputs_or_outputs(
    squash: str, gradient: str, softmax_over: str, eps: float, backend: str
) -> None:
    _check_samples(squash, gradient, softmax_over, eps)


@covering(squash=SQUASHES, gradient=GRADIENTS)
def test_samples_without_inputs_or_outputs_in_the_reference(squash: str, gradient: str) -> None:
    with testing.backend("reference"):
        _check_samples(squash, gradient, "outputs", 0.0)


def _check_samples(squash: str, gradient: str, softmax_over: str, eps: float) -> None:
    """Sample 0 has no input and is the squash of the bias, sample 1 has no output and is 0. Both hold NaN."""
    case = Case((3, 4, 3, 2, 5), bias=True, logits="sample", input_weight=True, eps=eps, squash=squash)
    options = {**case.options(), "gradient": gradient, "softmax_over": softmax_over}
    tensors, grad = case.tensors(), case.output_gradient()
    alone = {name: t[2:] if t.shape[0] == 3 and name != "weight" else t for name, t in tensors.items()}
    expected = evaluate(capsroute.dynamic_routing, alone, options, grad[2:])

    inputs, outputs = torch.ones(3, 4, dtype=torch.bool), torch.ones(3, 2, dtype=torch.bool)
    inputs[0], outputs[1] = False, False
    tensors["x"][:1] = float("nan")
    tensors["input_weight"][:1] = float("nan")
    result = evaluate(
        capsroute.dynamic_routing, {**tensors, "input_mask": inputs, "output_mask": outputs}, options, grad
    )
    constant = RoutingOptions(squash=squash, squash_constant=options["squash_constant"]).constant_of_squash()
    bias = tensors["bias"].clone().requires_grad_()
    of_bias = reference.squash(bias, eps, squash, constant)
    torch.testing.assert_close(result["output"][0], of_bias.detach(), rtol=1e-12, atol=1e-12)
    assert not result["output"][1].any()
    torch.testing.assert_close(result["output"][2:], expected["output"], rtol=1e-10, atol=1e-12)
    for name in ("x", "logits", "input_weight"):
        assert not result[name][:2].any(), f"what is absent has a gradient: {name}"
        torch.testing.assert_close(result[name][2:], expected[name], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(result["weight"], expected["weight"], rtol=1e-10, atol=1e-12)
    (own,) = torch.autograd.grad(of_bias, bias, grad[0])
    torch.testing.assert_close(result["bias"], expected["bias"] + own, rtol=1e-10, atol=1e-12)


@covering(squash=SQUASHES, given=[False, True], missing=["input_mask", "output_mask"])
def test_nothing_there_and_no_bias(squash: str, given: bool, missing: str, backend: str) -> None:
    """Zeros, and no gradient of anything, whatever the squash does at 0."""
    case = Case((2, 4, 3, 2, 5), logits="shared", given=given, input_weight=True, eps=0.0, squash=squash, iterations=1)
    options = {**case.options(), "iterations": 1 if given else 3}
    sizes = (2, 4) if missing == "input_mask" else (2, 2)
    tensors = {**case.tensors(), missing: torch.zeros(sizes, dtype=torch.bool)}
    result = evaluate(capsroute.dynamic_routing, tensors, options, case.output_gradient())
    for name, tensor in result.items():
        assert not tensor.any(), name
