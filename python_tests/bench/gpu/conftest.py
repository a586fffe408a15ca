"""Small limits and one thread: what is tested is the run, not the machine."""

from __future__ import annotations

import pytest
import torch

from capsroute.bench.gpu import ceilings, meter, plan


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, _torch_settings: None) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(ceilings, "_SIZE", 32)
    monkeypatch.setattr(ceilings, "_BYTES", 4096)
    monkeypatch.setattr(plan, "SWEEP", (2, 6))
    monkeypatch.setattr(meter.Meter.__init__, "__defaults__", (1e-3,))
