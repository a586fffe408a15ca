"""Routing by agreement in plain PyTorch: the definition, the oracle of the tests and the fallback.

The code follows Sabour, Frosst and Hinton, "Dynamic Routing Between Capsules" (2017), procedure 1, written with the
running sum of the outputs: the logits of iteration t are the initial logits plus the agreement of the votes with
V = v^1 + ... + v^(t-1). Everything is differentiated by autograd and computed in the dtype of the arguments.
Arguments are taken as they are; :mod:`capsroute.functional` has the checks.
"""

from __future__ import annotations

import torch
from torch import Tensor


def squash(s: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale each vector to a length below one: ``s * |s|^2 / (1 + |s|^2) / sqrt(|s|^2 + eps)``.

    Args:
        s: Vectors along the last axis, ``[..., D]``.
        eps: Added under the root. With 0, value and gradient at ``s = 0`` are 0.

    Returns:
        Tensor of the shape and dtype of ``s``.
    """
    squared = (s * s).sum(-1, keepdim=True)
    under_root = squared + eps
    under_root = torch.where(under_root > 0, under_root, 1.0)  # the formula has no value at 0 / 0; its limit is 0
    return s * (squared / (1 + squared) / under_root.sqrt())


def prediction_vectors(x: Tensor, weight: Tensor) -> Tensor:
    """What each input capsule predicts for each output capsule: ``[B, I, d], [I_w, J, D, d] -> [B, I, J, D]``."""
    batch, inputs, _ = x.shape
    distinct = weight.shape[0]
    grouped = x.unflatten(1, (inputs // distinct, distinct))  # input i uses weight i mod I_w
    return torch.einsum("brid,ijkd->brijk", grouped, weight).reshape(batch, inputs, *weight.shape[1:3])


def coupling_coefficients(logits: Tensor, present: Tensor | None, dim: int, leaky: bool) -> Tensor:
    """Softmax of ``logits [B, I, J]`` along ``dim`` over what is present; over nothing it is 0.

    ``leaky`` adds one zero logit whose share is dropped.
    """
    if present is not None:
        logits = logits.masked_fill(~present, float("-inf"))
    largest = logits.detach().amax(dim, keepdim=True)
    if leaky:
        largest = largest.clamp_min(0)
    largest = largest.masked_fill(largest == float("-inf"), 0)
    share = (logits - largest).exp()
    total = share.sum(dim, keepdim=True)
    if leaky:
        total = total + (-largest).exp()
    return share / torch.where(total == 0, 1.0, total)


def route_votes(
    votes: Tensor,
    bias: Tensor | None = None,
    *,
    iterations: int = 3,
    logits: Tensor | None = None,
    input_mask: Tensor | None = None,
    output_mask: Tensor | None = None,
    softmax_over: str = "outputs",
    leaky: bool = False,
    gradient: str = "all",
    eps: float = 1e-8,
) -> Tensor:
    """Plain version of :func:`capsroute.route_votes`; the same arguments and result."""
    batch, inputs, outputs, _ = votes.shape
    axis = 2 if softmax_over == "outputs" else 1
    present = None  # [B, I, J], who takes part
    if input_mask is not None or output_mask is not None:
        present = votes.new_ones((), dtype=torch.bool).expand(batch, inputs, outputs)
        if input_mask is not None:
            present = present & input_mask[:, :, None]
        if output_mask is not None:
            present = present & output_mask[:, None, :]
        votes = votes.masked_fill(~present[..., None], 0)

    initial = votes.new_zeros(inputs, outputs) if logits is None else logits
    total = votes.new_zeros(batch, outputs, votes.shape[3])  # V, the running sum of the outputs
    compared = votes.detach() if gradient == "last" else votes
    v = total
    for iteration in range(1, iterations + 1):
        constant = gradient == "last" and iteration < iterations
        with torch.set_grad_enabled(torch.is_grad_enabled() and not constant):
            agreement = (compared * total[:, None]).sum(-1)
            c = coupling_coefficients(initial + agreement, present, axis, leaky)
            s = torch.einsum("bij,bijk->bjk", c, votes)
            if bias is not None:
                s = s + bias
            v = squash(s, eps)
            if output_mask is not None:
                v = v.masked_fill(~output_mask[..., None], 0)
            total = total + v
    return v


def dynamic_routing(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    iterations: int = 3,
    logits: Tensor | None = None,
    input_mask: Tensor | None = None,
    output_mask: Tensor | None = None,
    softmax_over: str = "outputs",
    leaky: bool = False,
    gradient: str = "all",
    eps: float = 1e-8,
) -> Tensor:
    """Plain version of :func:`capsroute.dynamic_routing`; the same arguments and result."""
    if input_mask is not None:
        x = x.masked_fill(~input_mask[..., None], 0)  # absent values must not reach the gradient of the weight either
    return route_votes(
        prediction_vectors(x, weight),
        bias,
        iterations=iterations,
        logits=logits,
        input_mask=input_mask,
        output_mask=output_mask,
        softmax_over=softmax_over,
        leaky=leaky,
        gradient=gradient,
        eps=eps,
    )
