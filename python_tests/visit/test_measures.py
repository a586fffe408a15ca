"""The modules that measure on a GPU, rehearsed on the emulated one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from capsroute import testing

from .. import kernels, lanes
from . import divisions, twins

kernels.require("cuda_emulated")


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of division, and each kernel, once; all of them at night."""
    if not lanes.EVERYTHING:
        monkeypatch.setattr(divisions, "_SMALL", replace(divisions._SMALL, inputs=2))
        monkeypatch.setattr(divisions, "_TILES", (1, 8))
        monkeypatch.setattr(divisions, "_LAST_OUTPUTS", (2,))
        monkeypatch.setattr(divisions, "_LAST_WARPS", (64,))
        monkeypatch.setattr(divisions, "_PRECISIONS", ("float32",))
        monkeypatch.setattr(twins, "_DTYPES", (torch.float32,))
        monkeypatch.setattr(twins, "_CASES", (*twins._CASES[:3], replace(twins._CASES[3], sizes=(3, 4, 2, 3, 2))))


def test_divisions(tmp_path: Path) -> None:
    """Of each pass the model's choice and others, all of them right."""
    assert divisions.main(["--rehearse", "--out", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "divisions.json").read_text())
    assert not content["left_out"]
    found = content["times"]
    for gradient, others in ((None, ("fusion grid, tiles 8", "fusion launches, tiles 1")), ("all", ("last_warps 64",))):
        names = [one["division"] for one in found if (one["gradient"], one["precision"]) == (gradient, "float32")]
        assert names[0] == "automatic"
        assert set(others) <= set(names)
    assert all(one["error"] < (1e-5 if one["precision"] == "float32" else 1e-1) for one in found)
    assert "of 8 tiles of 16 samples" in next(one["kernel"] for one in found if "tiles 8" in one["division"])
    table = (tmp_path / "divisions.md").read_text()
    assert "| mnist, float32, forward | " in table
    with testing.emulated_device():  # nothing stays forced
        assert testing._native.cuda_division() == (0, 0, 0)


def test_divisions_without_time(tmp_path: Path) -> None:
    assert divisions.main(["--rehearse", "--out", str(tmp_path), "--seconds", "0"]) == 0
    assert "Left out for lack of time: mnist, float32, forward; " in (tmp_path / "divisions.md").read_text()


def test_twins(tmp_path: Path) -> None:
    assert twins.main(["--rehearse", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "twins.json").read_text())
    assert {one["kernel"] for one in found} == {"plain", "grid", "launches", "cluster"}
    assert all(one["passed"] == [True, True] for one in found)
    assert "verdicts are the same" in (tmp_path / "twins.md").read_text()


def test_a_verdict_that_differs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the hardware is wrong and the emulation is not."""
    right = twins._on_the_hardware

    def wrong(*arguments: object) -> dict[str, object]:
        return {name: tensor * 1.5 if name == "x" else tensor for name, tensor in right(*arguments).items()}  # type: ignore[arg-type]

    monkeypatch.setattr(twins, "_on_the_hardware", wrong)
    assert twins.main(["--rehearse", "--out", str(tmp_path)]) == 1
    assert "x: WRONG on the hardware, right in the emulation" in (tmp_path / "twins.md").read_text()
