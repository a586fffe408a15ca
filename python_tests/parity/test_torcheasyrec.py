"""TorchEasyRec's capsule layer, stated from its formulae, against what the documents put in its place."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn import functional as F

import capsroute

from .check import assert_same
from .row import J
from .rows_interests import ROWS, easyrec, easyrec_loop_ours, interests_there

ROW = next(row for row in ROWS if row.name == "alibaba/TorchEasyRec, `num_iters=3`")


@pytest.mark.parametrize(
    ("iterations", "scale", "power"), [(1, 1.0, 1.0), (3, 1.0, 0.7), (3, 20.0, 1.0), (4, 5.0, 2.0)]
)
def test_the_later_version(iterations, scale, power):
    """May 2025 and later: sharpened coefficients are carried on, nothing but the last iteration has a gradient."""
    theirs = partial(easyrec, r=iterations, scale=scale, power=power)
    ours = partial(easyrec_loop_ours, iterations=iterations, scale=scale, power=power)
    assert_same(replace(ROW, theirs=theirs, ours=ours), torch.float64)
    assert_same(replace(ROW, theirs=theirs, ours=ours), torch.float32)


def earlier(items, matrix, logits, mask, *, iterations, scale):
    """February 2025: votes and interests of length 1, and all of it is differentiated."""
    present, active = mask[..., None], interests_there(mask)[:, None]
    votes = F.normalize((items * present) @ matrix, dim=-1)
    for _ in range(iterations):
        coupling = logits.masked_fill(~active, -torch.inf).softmax(dim=2) * present
        v = F.normalize(torch.einsum("bik,bid->bkd", coupling, votes), dim=-1)  # squashed in between, for nothing
        logits = coupling + scale * torch.einsum("bkd,bid->bik", v, votes)
    return v * active.mT


def test_the_results_of_the_earlier_version():
    items, matrix, logits, mask = ROW.tensors(torch.float64).values()
    expected = earlier(items, matrix, logits, mask, iterations=3, scale=2.0)
    votes = F.normalize(items @ matrix, dim=-1)[:, :, None].expand(-1, -1, J, -1)
    for _ in range(3):
        step = capsroute.route_votes(
            votes,
            logits=logits,
            iterations=1,
            squash="none",
            input_mask=mask != 0,
            output_mask=interests_there(mask),
            details=("coupling", "agreement"),
        )
        length = step.output.norm(dim=-1).clamp_min(1e-12)
        logits = step.coupling + 2.0 * step.agreement / length[:, None]
    torch.testing.assert_close(F.normalize(step.output, dim=-1), expected, rtol=1e-11, atol=1e-12)
