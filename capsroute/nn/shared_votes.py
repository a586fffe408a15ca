"""Routing where all output capsules get the same votes, and only their logits differ."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from capsroute.routing import dispatch, functional, reference, tangents
from capsroute.routing.options import RoutingOptions

__all__ = ["route_shared_votes"]


def route_shared_votes(
    votes: Tensor,
    outputs: int,
    options: RoutingOptions,
    *,
    logits: Tensor | None = None,
    input_weight: Tensor | None = None,
    **masks: Tensor | None,
) -> Tensor:
    """:func:`capsroute.route_votes` for votes ``[B, I, D]`` of every output capsule; no ``[B, I, J, D]`` is stored.

    The kernels read the same memory for each output. Their backward would still write a gradient for each, of which
    only the sum is wanted. With ``gradient="last"`` there is another way: the coupling coefficients are a constant but
    for the logits' gradient, so that routing needs no backward, and the last sum is one matrix product of a sample.

    Args:
        votes: ``[B, I, D]``.
        outputs: J.
        options: Of the routing.
        logits: ``[I, J]``, ``[B, I, J]`` or None.
        input_weight: ``[B, I]`` or None.
        **masks: ``input_mask`` and ``output_mask``. Votes of absent inputs must be finite.

    Returns:
        ``[B, J, D]``.
    """
    call: dict[str, Any] = {"logits": logits, "input_weight": input_weight, **masks, **options.keywords()}
    each = votes[:, :, None, :].expand(-1, -1, outputs, -1)
    # What a transform of torch.func differentiates need not say here that it requires a gradient.
    learnt_logits = logits is not None and (logits.requires_grad or torch._C._are_functorch_transforms_active())
    constant_coupling = options.gradient == "last" and not learnt_logits
    # The coefficients of a half type are rounded to it, which the kernels never do to them.
    device = votes.device.type
    rounding = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)  # "meta" has no autocast
    exact = votes.dtype in (torch.float32, torch.float64) and not rounding
    learns = votes.requires_grad and torch.is_grad_enabled() and not dispatch.is_written_down()
    if not (constant_coupling and exact and learns) or tangents.are_given((votes, logits, input_weight)):
        return functional.route_votes(each, **call)
    with torch.no_grad():
        coupling = functional.route_votes(each, details=("coupling",), **call).coupling  # [B, I, J]
    assert coupling is not None
    if input_weight is not None:
        coupling = coupling * input_weight[:, :, None]
    return reference.squash(coupling.mT @ votes, options.eps, options.squash, options.constant_of_squash())
