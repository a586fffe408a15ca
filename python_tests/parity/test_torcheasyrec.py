"""TorchEasyRec's capsule layer, stated from its formulae, against what the documents put in its place."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import capsroute

from ..packaging.documents import namespace
from ..routing.compare import assert_close_to

B, LENGTH, LOW, HIGH, MOST = 8, 11, 5, 6, 4
LENGTHS = torch.tensor([11, 1, 2, 3, 5, 8, 9, 4])


def squash(s, power):
    length = s.norm(dim=-1, keepdim=True).clamp_min(1e-7)
    return (length**2 / (1 + length**2)) ** power / length * s


def masks():
    """Items [B, LENGTH, 1] that are there, and interests [B, 1, MOST] whose place is below log2 of the length."""
    wanted = LENGTHS.double().log2().clamp(1, MOST)
    return (torch.arange(LENGTH) < LENGTHS[:, None])[..., None], (torch.arange(MOST) < wanted[:, None])[:, None]


def later(items, matrix, logits, *, iterations, scale, power):
    """May 2025 and later: sharpened coefficients are carried on, nothing but the last iteration has a gradient."""
    present, active = masks()
    votes = (items * present) @ matrix  # [B, I, D], for all interests
    fixed = votes.detach()
    for left in reversed(range(iterations)):
        coupling = (logits.masked_fill(~active, -torch.inf) * scale).softmax(dim=2) * present
        s = torch.einsum("bik,bid->bkd", coupling, fixed if left else votes)
        logits = coupling + torch.einsum("bkd,bid->bik", s.detach(), F.normalize(fixed, dim=-1))
    return squash(s, power) * active.mT


def earlier(items, matrix, logits, *, iterations, scale):
    """February 2025: votes and interests of length 1, and all of it is differentiated."""
    present, active = masks()
    votes = F.normalize((items * present) @ matrix, dim=-1)
    for _ in range(iterations):
        coupling = logits.masked_fill(~active, -torch.inf).softmax(dim=2) * present
        v = F.normalize(squash(torch.einsum("bik,bid->bkd", coupling, votes), 1.0), dim=-1)
        logits = coupling + scale * torch.einsum("bkd,bid->bik", v, votes)
    return v * active.mT


def arguments(dtype):
    torch.manual_seed(0)
    return [torch.randn(*sizes, dtype=dtype) for sizes in ((B, LENGTH, LOW), (LOW, HIGH), (B, LENGTH, MOST))]


def results(function, items, matrix, logits, dtype):
    items, matrix = (tensor.to(dtype).requires_grad_() for tensor in (items, matrix))
    interests = function(items, matrix, logits.to(dtype))
    direction = torch.randn(interests.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    gradients = torch.autograd.grad(interests, (items, matrix), direction)
    return {"interests": interests.detach(), "items": gradients[0], "matrix": gradients[1]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("iterations", "scale", "power"), [(1, 1.0, 1.0), (3, 1.0, 0.7), (3, 20.0, 1.0), (4, 5.0, 2.0)]
)
def test_the_later_version(iterations, scale, power, dtype):
    tensors = arguments(torch.float32)
    function = namespace("docs/recommenders.md")["easyrec_interests"]

    def stated(items, matrix, logits):
        return later(items, matrix, logits, iterations=iterations, scale=scale, power=power)

    def replaced(items, matrix, logits):
        options = {"num_iters": iterations, "routing_logits_scale": scale, "squash_pow": power}
        return function(items, LENGTHS, matrix, logits, **options)

    ours = results(replaced, *tensors, dtype)
    assert all(result.any() for result in ours.values())
    assert_close_to(lambda: results(stated, *tensors, torch.float64), ours, dtype)


def test_the_results_of_the_earlier_version():
    items, matrix, logits = arguments(torch.float64)
    expected = earlier(items, matrix, logits, iterations=3, scale=2.0)
    present, active = masks()
    votes = F.normalize(items @ matrix, dim=-1)[:, :, None].expand(-1, -1, MOST, -1)
    for _ in range(3):
        step = capsroute.route_votes(
            votes,
            logits=logits,
            iterations=1,
            squash="none",
            input_mask=present[..., 0],
            output_mask=active[:, 0],
            details=("coupling", "agreement"),
        )
        length = step.output.norm(dim=-1).clamp_min(1e-12)
        logits = step.coupling + 2.0 * step.agreement / length[:, None]
    actual = F.normalize(step.output, dim=-1)
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-12)
