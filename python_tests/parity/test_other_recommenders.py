"""DeepMatch, EasyRec and PaddleRec, stated from their formulae, against docs/recommenders.md."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from capsroute.nn import InterestCapsules, interest_counts, interest_mask

from .page import from_page
from .row import B, D, I, J, d

PAGE = "docs/recommenders.md"
LENGTHS = torch.tensor([6, 3, 1])


def squash(s: Tensor, eps: float) -> Tensor:
    n = s.square().sum(-1, keepdim=True)
    return n / (1 + n) / (n + eps).sqrt() * s


def deepmatch(x: Tensor, matrix: Tensor, logits: Tensor, present: Tensor, active: Tensor) -> Tensor:
    """Version 0.3.2; ``logits [B, I, J]``. Interests are taken out before the softmax, items behind it."""
    votes = x @ matrix
    for k in range(3):
        c = logits.masked_fill(~active[:, None], -(2.0**31)).softmax(2) * present[..., None]
        v = squash(torch.einsum("bij,bih->bjh", c, votes if k == 2 else votes.detach()), 1e-9)
        logits = logits + torch.einsum("bjh,bih->bij", v.detach(), votes.detach())
    return v


def easyrec(x: Tensor, matrix: Tensor, logits: Tensor, present: Tensor, active: Tensor) -> Tensor:
    """TensorFlow, with a scale of 5, a power of 0.8 and a ratio of 2."""
    votes = x @ matrix
    for k in range(3):
        c = logits.masked_fill(~active[:, None], -1e32).softmax(2) * present[..., None]
        s = torch.einsum("bij,bih->bjh", c, votes if k == 2 else votes.detach())
        logits = 5 * torch.einsum("bjh,bih->bij", F.normalize(s.detach(), dim=-1), F.normalize(votes.detach(), dim=-1))
    n = s.square().sum(-1, keepdim=True).clamp_min(1e-16)
    return 2 * (n / (1 + n)) ** 0.8 / n.sqrt() * s * active[..., None]


def paddlerec(x: Tensor, matrix: Tensor, logits: Tensor, present: Tensor, active: Tensor) -> Tensor:
    """``logits [B, I, J]``, the same for all users there; all users have all interests."""
    votes = x @ matrix
    for k in range(3):
        c = logits.masked_fill(~present[..., None], -(2.0**32) + 1).softmax(1)
        v = squash(torch.einsum("bij,bih->bjh", c, votes if k == 2 else votes.detach()), 1e-8)
        change = torch.einsum("bjh,bih->bij", v.detach(), votes.detach())
        logits = logits + change / change.norm(dim=1, keepdim=True).clamp_min(1)
    return v


def deepmatch_ours(x: Tensor, matrix: Tensor, logits: Tensor, present: Tensor, active: Tensor) -> Tensor:
    layer = InterestCapsules(d, J, D, bilinear_type=0, truncated_logits=True, dtype=x.dtype)
    del layer.weight
    layer.weight = matrix.T.reshape(1, 1, D, d)
    counts = interest_counts(LENGTHS, J, logarithm="log2_1p")
    return layer(x, present, counts=counts, logits=logits)


def easyrec_ours(x: Tensor, matrix: Tensor, logits: Tensor, present: Tensor, active: Tensor) -> Tensor:
    votes = (x @ matrix)[:, :, None].expand(-1, -1, J, -1)
    route = from_page(PAGE, "easyrec_tensorflow_interests")
    return route(votes, logits, present, active, scale=5.0, squash_pow=0.8, scale_ratio=2.0)


def paddlerec_ours(x: Tensor, matrix: Tensor, logits: Tensor, present: Tensor, active: Tensor) -> Tensor:
    votes = (x @ matrix)[:, :, None].expand(-1, -1, J, -1)
    return from_page(PAGE, "paddlerec_interests")(votes, logits, present)


@pytest.mark.parametrize(
    ("theirs", "ours", "logarithm"),
    [(deepmatch, deepmatch_ours, "log2_1p"), (easyrec, easyrec_ours, "ln"), (paddlerec, paddlerec_ours, "log2")],
)
def test_the_same_interests_and_gradients(theirs, ours, logarithm):
    generator = torch.Generator().manual_seed(0)
    present = torch.arange(I) < LENGTHS[:, None]
    active = interest_mask(interest_counts(LENGTHS, J, logarithm=logarithm), J)
    shapes = ((B, I, d), (d, D), (B, I, J), (B, J, D))
    x, matrix, logits, grad = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    x *= present[..., None]  # the embedding of padding is 0
    found = []
    for route in (theirs, ours):
        leaves = x.clone().requires_grad_(), matrix.clone().requires_grad_()
        v = route(*leaves, logits, present, active)
        found.append((v.detach(), *torch.autograd.grad(v, leaves, grad)))
    for expected, given in zip(*found, strict=True):
        torch.testing.assert_close(given, expected, rtol=1e-9, atol=1e-10)
