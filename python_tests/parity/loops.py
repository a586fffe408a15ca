"""The loop over iterations as most PyTorch and Keras code has it, with stored logits, for each order of axes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Squash = Callable[[Tensor], Tensor]


def outputs_before_inputs(votes: Tensor, squash: Squash, dim: int, detached: bool = False, r: int = 3) -> Tensor:
    """``votes [B, J, I, D]``, logits ``[B, J, I]`` with a softmax along ``dim``."""
    inner = votes.detach() if detached else votes
    b = torch.zeros_like(votes[..., 0])
    for _ in range(r - 1):
        v = squash((b.softmax(dim)[..., None] * inner).sum(2))
        b = b + (inner * v[:, :, None]).sum(-1)
    return squash((b.softmax(dim)[..., None] * votes).sum(2))


def inputs_before_outputs(votes: Tensor, squash: Squash, dim: int, detached: bool = False, r: int = 3) -> Tensor:
    """``votes [B, I, J, D]``, logits ``[B, I, J]`` with a softmax along ``dim``."""
    inner = votes.detach() if detached else votes
    b = torch.zeros_like(votes[..., 0])
    for _ in range(r - 1):
        v = squash(torch.einsum("bij,bijo->bjo", b.softmax(dim), inner))
        b = b + torch.einsum("bjo,bijo->bij", v, inner)
    return squash(torch.einsum("bij,bijo->bjo", b.softmax(dim), votes))
