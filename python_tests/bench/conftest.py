"""What the tests of the benchmark share."""

from __future__ import annotations

import functools

import pytest
import torch

from .. import lanes


@pytest.fixture
def quick_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """``torch.compile`` traces and does not generate code, which takes most of its seconds; at night it does all."""
    if not lanes.EVERYTHING:
        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
