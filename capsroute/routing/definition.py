"""Beside all floors: a checked call by the definition, for derivatives that no kernel has.

The kernels compute the output and its gradients. Tangents, and derivatives of gradients, are those of the plain
PyTorch of :mod:`.reference`, which stores the votes. Half types are computed in float32, as the kernels do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from . import reference
from .options import RoutingOptions
from .result import RoutingResult

_HALF = (torch.bfloat16, torch.float16)


def call(
    name: str, options: RoutingOptions, tensors: Sequence[Tensor | None], wanted: Sequence[str] | None = None
) -> Any:
    """The output of a routing op, alone or with the details that are ``wanted``, in the dtype of the tensors."""
    *sources, bias, logits, input_weight, input_mask, output_mask = tensors
    return getattr(reference, name)(
        *sources,
        bias,
        input_mask=input_mask,
        output_mask=output_mask,
        input_weight=input_weight,
        details=wanted,
        **{"coupling" if options.coupling_given else "logits": logits},
        **options.keywords(),
    )


def exactly(
    name: str, options: RoutingOptions, tensors: Sequence[Tensor | None], wanted: Sequence[str] | None = None
) -> Any:
    """As :func:`call`, but rounded to a half type at the end only."""
    first = tensors[0]
    assert first is not None
    if first.dtype not in _HALF:
        return call(name, options, tensors, wanted)
    found = call(name, options, [_widened(tensor) for tensor in tensors], wanted)
    if wanted is None:
        return found.to(first.dtype)
    return RoutingResult(*(cast("Any", None if field is None else field.to(first.dtype)) for field in found))


def _widened(tensor: Tensor | None) -> Tensor | None:
    return tensor.float() if tensor is not None and tensor.dtype in _HALF else tensor


def gradients(
    name: str,
    options: RoutingOptions,
    grad_output: Tensor,
    tensors: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """What the backward of a routing op computes, as a function that can be differentiated.

    Args:
        name: Of the routing op.
        options: Those of its forward; the output is s where they say so.
        grad_output: Gradient of the output, ``[B, J, D]``.
        tensors: Those of the forward.
        needed: For the first of the tensors: whether its gradient is asked for.

    Returns:
        Their gradients, None where not needed.
    """

    def output(*given: Tensor | None) -> Tensor:
        if options.squash_output:
            routed: Tensor = exactly(name, options, given)
            return routed
        pre_squash: Tensor = exactly(name, options, given, ("pre_squash",)).pre_squash
        return pre_squash

    return pulled_back(output, tensors, needed, grad_output)[: len(needed)]


def pulled_back(
    function: Callable[..., Any], arguments: Sequence[Tensor | None], wanted: Sequence[bool], given: Any
) -> list[Tensor | None]:
    """The products of ``given`` with the Jacobians of ``function(*arguments)``, None where not ``wanted``.

    By torch.func, which can be differentiated and mapped again.
    """
    places = [place for place, want in enumerate(wanted) if want and arguments[place] is not None]

    def of_the_wanted(*values: Tensor) -> Any:
        replaced = {**dict(enumerate(arguments)), **dict(zip(places, values, strict=True))}
        return function(*replaced.values())

    _, pull_back, *_ = torch.func.vjp(of_the_wanted, *(arguments[place] for place in places))
    found = dict(zip(places, pull_back(given), strict=True))
    return [found.get(place) for place in range(len(arguments))]
