"""The loop over iterations as most PyTorch and Keras code has it, with stored logits, for each order of axes."""

from __future__ import annotations

import torch
from torch import Tensor

from .squashes import Squash, no_eps


def route(
    votes: Tensor,
    inputs: int,
    softmax: int,
    squash: Squash = no_eps,
    *,
    logits: Tensor | None = None,
    bias: Tensor | float = 0.0,
    leaky: bool = False,
    replace: bool = False,
    detached: bool = False,
    r: int = 3,
) -> Tensor:
    """Output capsules of votes in any order of axes, components last, without the axis of the inputs.

    Args:
        votes: Prediction vectors.
        inputs: Their axis of the inputs.
        softmax: Axis of the softmax.
        squash: Along the components.
        logits: The first ones, in the axes of ``votes`` with 1 component; zeros unless given.
        bias: Before each squash, in the axes of ``votes`` with 1 input.
        leaky: Whether a logit of zero goes first.
        replace: Whether the last agreement alone makes the logits.
        detached: Whether gradients stop at the votes of all iterations but the last.
        r: Iterations.
    """
    b = torch.zeros_like(votes[..., :1]) if logits is None else logits
    for k in range(r):
        u = votes.detach() if detached and k < r - 1 else votes
        if leaky:
            c = torch.cat([torch.zeros_like(b.narrow(softmax, 0, 1)), b], softmax).softmax(softmax)
            c = c.narrow(softmax, 1, b.shape[softmax])
        else:
            c = b.softmax(softmax)
        v = squash((c * u).sum(inputs, keepdim=True) + bias)
        agreement = (u * v).sum(-1, keepdim=True)
        b = agreement if replace else b + agreement
    return v.squeeze(inputs)
