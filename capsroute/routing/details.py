"""Floor 2: what a call can return beside its output, found after the kernels from what they save.

The coupling coefficients of the last iteration follow from its query Q, the vectors of which the logits are the inner
products with the votes, and Q from the saved s of the iterations before. So a call without details pays nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import autograd, ops, reference
from .options import RoutingOptions
from .result import RoutingResult


def route(
    name: str, options: RoutingOptions, tensors: Sequence[Tensor | None], wanted: Sequence[str] | None
) -> Tensor | RoutingResult:
    """Call the kernels of an op, and find the details that are wanted.

    Args:
        name: Of the routing op.
        options: With a backend that has kernels for the device of the tensors.
        tensors: Its sources and optional tensors, checked.
        wanted: Names of :data:`.options.DETAILS`, or None for the output alone.
    """
    if wanted is None:
        return autograd.route(name, options, tensors)[0]
    dtype = _split(tensors)[0][0].dtype
    if "pre_squash" in wanted:
        # S is differentiable then, and the output follows from it. Neither s nor its gradient may be rounded to a half
        # type on the way.
        options = options._replace(squash_output=False)
        tensors = _exact(tensors)
    queried = "coupling" in wanted and options.iterations > 1 and not options.coupling_given
    result, saved = autograd.route(name, options, tensors, keep=queried)
    output = (result if options.squash_output else _squash(result, options)).to(dtype)
    given = [None if tensor is None else tensor.detach() for tensor in tensors]
    return RoutingResult(
        output,
        _coupling(name, options, given, saved if queried else None).to(dtype) if "coupling" in wanted else None,
        None if options.squash_output else result.to(dtype),
        _agreement(name, options, given, output.detach()) if "agreement" in wanted else None,
    )


def _accumulation_type(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _exact(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The same numbers in the type that sums have."""
    return [
        tensor.to(_accumulation_type(tensor.dtype)) if tensor is not None and tensor.is_floating_point() else tensor
        for tensor in tensors
    ]


def _squash(s: Tensor, options: RoutingOptions) -> Tensor:
    exact = s.to(_accumulation_type(s.dtype))
    return reference.squash(exact, options.eps, options.squash, options.constant_of_squash()).to(s.dtype)


def _split(tensors: Sequence[Tensor | None]) -> tuple[list[Tensor], dict[str, Tensor | None]]:
    count = len(tensors) - len(ops.OPTIONAL)
    sources = [tensor for tensor in tensors[:count] if tensor is not None]
    return sources, dict(zip(ops.OPTIONAL, tensors[count:], strict=True))


def _present(optional: dict[str, Tensor | None]) -> Tensor | None:
    """Who takes part, ``[B, I, J]`` or with sizes of 1; None for all."""
    here, there = optional["input_mask"], optional["output_mask"]
    masks = [*([] if here is None else [here[:, :, None]]), *([] if there is None else [there[:, None, :]])]
    if not masks:
        return None
    return masks[0] if len(masks) == 1 else masks[0] & masks[1]


def _last_query(saved: Tensor, optional: dict[str, Tensor | None], options: RoutingOptions) -> Tensor:
    """Q of the last iteration but for the temperature, ``[B, J, D]``, from s of all iterations before the bias."""
    bias, there = optional["bias"], optional["output_mask"]
    total = torch.zeros_like(saved[0])
    for before_bias in saved[:-1]:
        s = before_bias if bias is None else before_bias + bias
        v = _squash(s, options._replace(squash_output=True))
        v = v if there is None else v.masked_fill(~there[..., None], 0)
        agreement = options.agreement_factor * v
        total = total + agreement if options.logit_update == "accumulate" else agreement
    return total


def _coupling(name: str, options: RoutingOptions, tensors: Sequence[Tensor | None], saved: Tensor | None) -> Tensor:
    """Coupling coefficients of the last iteration, ``[B, I, J]``, dtype of the sources."""
    sources, optional = _split(tensors)
    present, initial = _present(optional), optional["logits"]
    batch, inputs, outputs, *_ = ops._sizes(sources)
    dtype = sources[0].dtype
    if options.coupling_given:
        assert initial is not None
        given = initial.expand(batch, inputs, outputs)
        masked = given if present is None else given.masked_fill(~present, 0)
        return masked.clone(memory_format=torch.contiguous_format)  # whatever the strides of the argument
    logits = sources[0].new_zeros((batch, inputs, outputs), dtype=_accumulation_type(dtype))
    if saved is not None:
        logits = ops.agreement(name, sources, _last_query(saved, optional, options), options)
    if initial is not None and (options.logit_update == "accumulate" or options.iterations == 1):
        logits = logits + initial
    logits = logits / options.temperatures()[-1]
    axis = 2 if options.softmax_over == "outputs" else 1
    return reference.coupling_coefficients(logits, present, axis, options.leaky).to(dtype)


def _agreement(name: str, options: RoutingOptions, tensors: Sequence[Tensor | None], output: Tensor) -> Tensor:
    """Inner products of the votes with the output, ``[B, I, J]``, dtype of the sources; 0 for what is absent."""
    sources, optional = _split(tensors)
    products = ops.agreement(name, sources, output.to(_accumulation_type(output.dtype)), options).to(output.dtype)
    present = _present(optional)
    return products if present is None else products.masked_fill(~present, 0)
