"""Hold a drawn call to the rule of the tolerances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import capsroute
from capsroute import reference
from capsroute.routing.result import RoutingResult
from python_tests.routing.cases import Tensors, to
from python_tests.routing.rounding import Draws
from python_tests.routing.tolerances import assert_faithful

from .call import HALVES, Call

NO_KERNEL = "cannot run this problem on this device"
# The gradient of s, where details ask for it, is this share of that of the output: exact in every type.
SHARE = 0.5


def check(call: Call) -> str:
    """Run a call on its kernel, forward and backward, and compare with the plain reference.

    Returns:
        ``"refused"`` by a kernel that was forced and says that it cannot run this problem, else ``"right"``.

    Raises:
        AssertionError: A result is further from the truth than the rule allows, or is of another type or shape.
    """
    tensors, grad = call.arguments()
    try:
        with call.kernel.in_force():
            actual = _actual(call, tensors, grad)
    except RuntimeError as error:
        if call.kernel.backend == "cpu" or NO_KERNEL not in str(error):
            raise
        return "refused"
    for name, result in actual.items():
        assert result.is_contiguous(), f"{name} is not contiguous"
    tensors = {**tensors, "output": actual["output"]}
    truth = plain(call, tensors, grad, torch.float64)
    # Gradients of logits are differences of terms p = w û·a, which cancel exactly over a softmax of one capsule.
    terms = _length(_votes(tensors)) * _length(grad)
    drawn = Draws(lambda: plain(call, tensors, grad, torch.float64), call.dtype)
    _assert_all_faithful(actual, truth, drawn, terms)
    return "right"


def _actual(call: Call, tensors: Tensors, grad: Tensor) -> Tensors:
    """What the public function computes, with one output axis again."""
    placed = call.placed({**tensors, "grad": grad})
    grad = placed.pop("grad")
    with torch.autocast("cpu", torch.bfloat16 if call.dtype not in HALVES else call.dtype, enabled=call.autocast):
        if not call.autocast or call.dtype != torch.float32:  # float32 under autocast would become a half type
            return _joined(call, tensors, evaluate(getattr(capsroute, call.entry), call, placed, grad.to(call.dtype)))
        with torch.autocast("cpu", enabled=False):
            return _joined(call, tensors, evaluate(getattr(capsroute, call.entry), call, placed, grad))


def evaluate(function: Callable[..., Any], call: Call, tensors: Tensors, grad: Tensor) -> Tensors:
    """Output, details and gradients, the latter by the names of the arguments."""
    leaves = {name: tensor.detach() for name, tensor in tensors.items()}
    wanted = [leaves[name].requires_grad_() for name in call.differentiable]
    result = function(**leaves, **call.case.options(), details=call.details or None)
    result = result if isinstance(result, RoutingResult) else RoutingResult(result)
    assert all((getattr(result, name) is not None) == (name in call.details) for name in result._fields[1:])
    found = {f"detail {name}": getattr(result, name) for name in call.details}
    for name in ("coupling", "agreement"):
        assert f"detail {name}" not in found or not found[f"detail {name}"].requires_grad
    # The reference has no gradient to give where a tensor plays no part, as logits do not that were replaced.
    plays_no_part = function.__module__ == reference.__name__ and not result.output.requires_grad
    assert plays_no_part or result.output.requires_grad == bool(wanted)
    outputs, grads = [result.output], [grad]
    if result.pre_squash is not None:
        outputs.append(result.pre_squash)
        grads.append(SHARE * grad)
    if plays_no_part:
        gradients: Sequence[Tensor] = [torch.zeros_like(tensor) for tensor in wanted]
    else:
        unused = function.__module__ == reference.__name__
        gradients = torch.autograd.grad(outputs, wanted, grads, materialize_grads=unused) if wanted else ()
    found["output"] = result.output
    found.update(zip(call.differentiable, gradients, strict=True))
    return {name: tensor.detach() for name, tensor in found.items()}


def _joined(call: Call, tensors: Tensors, results: Tensors) -> Tensors:
    """The results with one output axis, in the type of the computation: a cast back must not lose anything."""
    batch, inputs, _, outputs, size = call.case.sizes
    shapes = {"output": (batch, outputs, size), "detail pre_squash": (batch, outputs, size)}
    shapes |= {f"detail {name}": (batch, inputs, outputs) for name in ("coupling", "agreement")}
    found = {}
    for name, result in results.items():
        cast = call.autocast and call.dtype in HALVES and name in call.differentiable and name not in call.halves
        assert result.dtype == (torch.float32 if cast else call.dtype), f"{name} is {result.dtype}"
        if call.axes:
            result = result.reshape(tensors[name].shape if name in tensors else shapes[name])
        assert torch.equal(result.to(call.dtype).to(result.dtype), result), f"{name} has more digits than its type"
        found[name] = result.to(call.dtype)
    return found


def plain(call: Call, tensors: Tensors, grad: Tensor, dtype: torch.dtype) -> Tensors:
    """What the plain reference computes in ``dtype`` from the same rounded arguments.

    Among these is the ``"output"`` to be checked: the agreement is that of the votes with the output as it is returned.
    """
    tensors = to(tensors, dtype)
    output = tensors.pop("output")
    found = evaluate(getattr(reference, call.entry), call, tensors, grad.to(dtype))
    if "agreement" in call.details:
        found["detail agreement"] = _agreement(tensors, output)
    return found


def _agreement(tensors: Tensors, output: Tensor) -> Tensor:
    """Inner products of the votes with the output, 0 for what is absent."""
    products = (_votes(tensors) * output[:, None]).sum(-1)
    for name, axis in (("input_mask", 2), ("output_mask", 1)):
        if name in tensors:
            products = products.masked_fill(~tensors[name].unsqueeze(axis), 0)
    return products


def _length(vectors: Tensor) -> float:
    """Of the longest; what is not finite stands where nothing is."""
    lengths = vectors.double().nan_to_num(0, 0, 0).norm(dim=-1)
    return float(lengths.max()) if lengths.numel() else 0.0


def _votes(tensors: Tensors) -> Tensor:
    return tensors["votes"] if "votes" in tensors else reference.prediction_vectors(tensors["x"], tensors["weight"])


def _assert_all_faithful(actual: Tensors, truth: Tensors, drawn: Draws[Tensors], terms: float) -> None:
    assert actual.keys() == truth.keys()
    for name, true in truth.items():
        rounded = true.to(actual[name].dtype)
        beyond = rounded.isinf()  # what the type cannot hold must be infinite, and is no number to compare
        assert torch.equal(actual[name][beyond], rounded[beyond]), f"{name}: a number beyond its type is not infinite"

        def held(tensor: Tensor, beyond: Tensor = beyond) -> Tensor:
            return tensor.masked_fill(beyond, 0)

        def others(count: int, name: str = name, held: Callable[[Tensor], Tensor] = held) -> list[Tensor]:
            return [held(results[name]) for results in drawn(count)]

        own = terms if name == "logits" else 0.0
        assert_faithful(held(actual[name]), held(true), others, name=name, terms=own, amplified=True)
