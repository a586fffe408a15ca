"""NaN, infinity and overflow: what they reach, and that no wrong number comes out of them unseen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..routing.cases import Case, Tensors, to
from ..routing.compare import Expected, expected, fused
from ..routing.rounding import FEW
from .errors import forced

_SIZES = (19, 9, 5, 7, 6)
VICTIM = 7  # the sample, or the input or output capsule, that is spoiled
PER_SAMPLE = ("output", "x", "logits")
# What came of a call, counted over the elements of output and gradients: all of them; "leaked", which must not have
# changed by a bit, and did; "silent", which are finite and wrong: float64 has another number, or none; "spoiled", which
# are not finite where plain PyTorch has a number.
Outcome = dict[str, int]


@dataclass(frozen=True)
class Poison:
    """One way to spoil a call."""

    name: str
    spoil: Callable[[Tensors, Tensor, float], None]  # changes the arguments and the gradient of the output
    mask: str = ""  # by which what is spoiled is absent
    own: bool = False  # it must stay in sample VICTIM
    hidden: bool = False  # nothing of it may be seen at all


def _x(tensors: Tensors, grad: Tensor, bad: float) -> None:
    tensors["x"][VICTIM, 1] = bad


def _logits(tensors: Tensors, grad: Tensor, bad: float) -> None:
    tensors["logits"][VICTIM, 1, 1] = bad


def _gradient(tensors: Tensors, grad: Tensor, bad: float) -> None:
    grad[VICTIM, 1] = bad


def _absent_x(tensors: Tensors, grad: Tensor, bad: float) -> None:
    tensors["x"][~tensors["input_mask"]] = bad


def _weight(tensors: Tensors, grad: Tensor, bad: float) -> None:
    tensors["weight"][1, 2, 0, 0] = bad


POISONS = (
    Poison("x of one sample", _x, own=True),
    Poison("initial logits of one sample", _logits, own=True),
    Poison("output gradient of one sample", _gradient, own=True),
    Poison("x of absent inputs", _absent_x, mask="input_mask", hidden=True),
    Poison("one weight", _weight),
    Poison("one weight, whose input is absent in every sample", _weight, mask="input_mask"),
    Poison("one weight, whose output is absent in every sample", _weight, mask="output_mask"),
)


def measure(poison: Poison, softmax: str, dtype: torch.dtype, bad: float, kernels: Sequence[str]) -> list[Outcome]:
    """Run one call as it is, and spoiled, on these kernels."""
    masks: dict[str, Any] = {poison.mask: True} if poison.mask else {}
    case = Case(_SIZES, softmax=softmax, logits="sample", bias=True, **masks)
    tensors, options, grad = case.tensors(dtype), case.options(), case.output_gradient(dtype)
    if "weight" in poison.name and poison.mask:
        tensors[poison.mask][:, 1 if poison.mask == "input_mask" else 2] = False
    spoiled, bad_grad = {name: tensor.clone() for name, tensor in tensors.items()}, grad.clone()
    poison.spoil(spoiled, bad_grad, bad)
    others = torch.arange(_SIZES[0]) != VICTIM

    def leaked(result: Tensors) -> int:
        if not (poison.own or poison.hidden):
            return 0
        clean = fused(tensors, options, grad)
        if poison.own:
            return sum(int((result[name][others] != clean[name][others]).sum()) for name in PER_SAMPLE)
        return sum(int((result[name] != clean[name]).sum()) for name in result)

    return _outcomes(spoiled, options, bad_grad, kernels, leaked)


def overflow(softmax: str, dtype: torch.dtype, kernels: Sequence[str]) -> list[Outcome]:
    """x so large that the squares of the sums pass the range of the accumulation type, in one sample of several."""
    case = Case(_SIZES, softmax=softmax)
    tensors = case.tensors(torch.float64)
    tensors["x"][VICTIM] *= 1e200 if dtype == torch.float64 else 1e4 if dtype == torch.float16 else 1e25
    if dtype == torch.float16:  # whose numbers are too small for that, but not their products
        tensors["weight"] *= 1e4
    return _outcomes(to(tensors, dtype), case.options(), case.output_gradient(dtype), kernels, lambda result: 0)


def _outcomes(
    tensors: Tensors, options: dict[str, Any], grad: Tensor, kernels: Sequence[str], leaked: Callable[[Tensors], int]
) -> list[Outcome]:
    """Of one call on each kernel."""
    known = expected(tensors, options, grad)
    outcomes = []
    for kernel in kernels:
        with forced(kernel):
            result = fused(tensors, options, grad)
            outcomes.append({**_judged(known, result), "leaked": leaked(result)})
    return outcomes


def _judged(known: Expected, result: Tensors) -> Outcome:
    """Each element beside float64 and plain PyTorch; a finite one counts as right by the rule of the tolerances."""
    elements = silent = spoiled = 0
    for name, tensor in result.items():
        truth, usual = known.truth[name], torch.stack([drawn[name] for drawn in known.drawn(FEW)])
        finite, plain_finite = torch.isfinite(tensor), torch.isfinite(usual).all(0)
        info = torch.finfo(tensor.dtype)
        comparable = finite & torch.isfinite(truth)
        scale = float(truth[comparable].abs().max()) if comparable.any() else 0.0
        noise = torch.where(plain_finite, (usual - truth).abs().amax(0), 0.0)
        worst = float(noise[comparable & plain_finite].max()) if (comparable & plain_finite).any() else 0.0
        relative = {torch.float64: 1e-13, torch.float32: 1e-6}.get(tensor.dtype, 4 * info.eps)
        wrong = (tensor.double() - truth).abs() > 2 * worst + relative * scale
        elements += tensor.numel()
        silent += int((finite & (~torch.isfinite(truth) | (comparable & wrong))).sum())
        spoiled += int((~finite & plain_finite & (usual[0].abs() <= info.max)).sum())
    return {"elements": elements, "silent": silent, "spoiled": spoiled}
