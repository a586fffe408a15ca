"""``capsroute info`` on a machine with GPUs, which is played here."""

from __future__ import annotations

import json

import pytest
import torch

from capsroute.cli import main
from capsroute.routing import backends


@pytest.fixture(autouse=True)
def _two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(device: torch.device) -> backends.Choice:
        usable = device.index == 0
        return backends.Choice("cuda", "they take the kernels") if usable else backends.Choice("reference", "too old")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(backends, "choose", choose)


def test_each_gpu_with_what_runs_on_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    assert "GPU 0, GPU 1" in said
    assert "they take the kernels; too old" in said


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["gpus"] == ["GPU 0", "GPU 1"]
    assert facts["gpu_kernels"] == ["they take the kernels", "too old"]
