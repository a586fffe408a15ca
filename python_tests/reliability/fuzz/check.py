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
from python_tests.routing.compare import MORE_ORDERS, ORDERS, Order, in_several_orders
from python_tests.routing.tolerances import assert_faithful

from .call import HALVES, Call
from .kernels import takes_3xtf32

NO_KERNEL = "cannot run this problem on this device"
# The gradient of s, where details ask for it, is this share of that of the output: exact in every type.
SHARE = 0.5


def check(call: Call) -> str:
    """Run a call on its kernel, forward and backward, and compare with the plain reference.

    Returns:
        ``"refused"`` by a kernel that was forced and says that it cannot run this problem. Else what plain PyTorch's
        own error was taken from: ``"three orders"`` of summation; ``"many orders"``, since a few may all have a small
        error by chance; ``"problems alike"``, since tiny sums have one order; or ``"3xTF32"``, products that are wrong
        by as much as docs/kernels.md says.

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
    compute = torch.float64 if call.dtype == torch.float64 else torch.float32
    # Gradients of logits are differences of terms p = w û·a, which cancel exactly over a softmax of one capsule.
    terms = _length(_votes(tensors)) * _length(grad)
    same: list[Tensors] = []
    for outcome, more in _plain_results(call, tensors, grad, truth, compute).items():
        same += [to(results, compute) for results in more()]
        try:
            _assert_all_faithful(actual, truth, same, terms)
        except AssertionError as error:
            failure = error
        else:
            return outcome
    raise failure


def _plain_results(
    call: Call, tensors: Tensors, grad: Tensor, truth: Tensors, compute: torch.dtype
) -> dict[str, Callable[[], list[Tensors]]]:
    """Results of plain PyTorch that tell its own error, by the outcomes of :func:`check`."""

    def in_orders(orders: Sequence[Order]) -> list[Tensors]:
        return in_several_orders(lambda t, g: plain(call, t, g, compute), tensors, grad, orders)

    found = {
        "three orders": lambda: in_orders(ORDERS),
        "many orders": lambda: in_orders(MORE_ORDERS),
        "problems alike": lambda: [alike(call, tensors, grad, truth, compute, seed) for seed in range(16)],
    }
    if takes_3xtf32(call.kernel, call.dtype):
        found["3xTF32"] = lambda: [
            plain(call, *wrong_products(tensors, grad, seed), torch.float64) for seed in range(5)
        ]
    return found


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


def alike(call: Call, tensors: Tensors, grad: Tensor, truth: Tensors, compute: torch.dtype, seed: int) -> Tensors:
    """The truth with the error that plain PyTorch makes where each argument is another by about a thousandth.

    In float64, where it is its own truth, what it makes of arguments that are others in their last place.
    """
    generator = torch.Generator().manual_seed(seed)

    def near(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        return tensor.to(compute) * (1 + by * torch.randn(tensor.shape, generator=generator, dtype=compute))

    by = torch.finfo(compute).eps if compute == torch.float64 else 1e-3
    close, close_grad = {name: near(tensor) for name, tensor in tensors.items()}, near(grad)
    if compute == torch.float64:
        return plain(call, close, close_grad, compute)
    rough, exact = (plain(call, close, close_grad, dtype) for dtype in (compute, torch.float64))
    errors = {name: torch.nan_to_num(rough[name].double() - exact[name]) for name in truth}
    return {name: (truth[name] + errors[name]).to(compute) for name in truth}


def wrong_products(tensors: Tensors, grad: Tensor, seed: int) -> tuple[Tensors, Tensor]:
    """The arguments in float64, factors of products wrong by 2^-21: as much as a product of three in TF32 may be."""
    generator = torch.Generator().manual_seed(seed)

    def wrong(tensor: Tensor) -> Tensor:
        signs = torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1
        return tensor.double() * (1 + 2.0**-21 * signs)

    return {name: wrong(t) if name in ("x", "weight") else t for name, t in tensors.items()}, wrong(grad)


def _assert_all_faithful(actual: Tensors, truth: Tensors, same: Sequence[Tensors], terms: float) -> None:
    assert actual.keys() == truth.keys()
    for name in truth:
        plain_results, own = [results[name] for results in same], terms if name == "logits" else 0.0
        rounded = truth[name].to(actual[name].dtype)
        beyond = rounded.isinf()  # what the type cannot hold must be infinite, and is no number to compare
        assert torch.equal(actual[name][beyond], rounded[beyond]), f"{name}: a number beyond its type is not infinite"
        held, true, *others = (t.masked_fill(beyond, 0) for t in (actual[name], truth[name], *plain_results))
        assert_faithful(held, true, others, name=name, terms=own, amplified=True)
