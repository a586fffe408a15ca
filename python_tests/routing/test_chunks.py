"""The reference in chunks of samples, which tests of full shapes compare with, is the reference."""

from __future__ import annotations

import pytest
import torch

from . import compare
from .cases import Case, votes_of

CASES = [
    Case((7, 6, 4, 5, 3), bias=True, logits="shared", input_mask=True),
    Case((7, 6, 4, 5, 3), softmax="inputs", logits="sample", output_mask=True, gradient="last"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
def test_chunks(case: Case, entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors, grad = case.tensors(), case.output_gradient()
    tensors = votes_of(tensors) if entry == "route_votes" else tensors
    whole = compare.plain(tensors, case.options(), grad, torch.float64)
    calls = []
    evaluate = compare.evaluate
    monkeypatch.setattr(compare, "MOST_VOTES", 2 * 6 * 5 * 3)
    monkeypatch.setattr(compare, "evaluate", lambda *given: (calls.append(given), evaluate(*given))[1])
    chunks = compare.plain(tensors, case.options(), grad, torch.float64)
    assert len(calls) == 4
    assert chunks.keys() == whole.keys()
    for name, t in whole.items():
        torch.testing.assert_close(chunks[name], t, rtol=1e-12, atol=1e-14)
