"""``capsroute bench gpu`` from its command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from capsroute.bench import shapes
from capsroute.bench.gpu import command, correctness, plots
from capsroute.cli import main

from .stand_in import CpuDevice

TINY = shapes.Shape("tiny", 6, 9, 4, 5, 3, 3, "")


def bench(*words: str) -> int:
    return main(["bench", *words])


@pytest.fixture
def _on_the_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "open_device", CpuDevice)
    monkeypatch.setattr(shapes, "SHAPES", (TINY, *shapes.SHAPES))
    monkeypatch.setattr(plots, "draw", lambda *_: None)


@pytest.mark.usefixtures("_on_the_stand_in")
def test_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["gpu", "--out", str(tmp_path / "out"), "--shapes", "tiny", "--compare", "eager", "--precisions", "tf32"]
    assert bench(*words) == 0
    shown = capsys.readouterr()
    assert "checked tiny: 48 of 48 within the rule\n" in shown.out
    assert shown.err == ""
    content = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert {row["precision"] for row in content["rows"]} == {"tf32"}
    assert content["finished"]


@pytest.mark.usefixtures("_on_the_stand_in")
def test_a_wrong_result_is_exit_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = correctness.Check("tiny", 6, "float32", "all", "plain", {}, passed=False, problem="planted")
    monkeypatch.setattr(correctness, "check", lambda *_: [wrong])
    words = ("--shapes", "tiny", "--compare", "none", "--precisions", "float32")
    assert bench("gpu", "--out", str(tmp_path), *words) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("gpu", "--out", str(tmp_path / "out")) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        "capsroute: error: bench gpu needs a CUDA device that torch can use, and torch finds none here\n"
    )
    assert not (tmp_path / "out").exists()


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("gpu", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for word in ("--out DIR", "--budget SECONDS", "--max-autotune", "gpu.json", "gpu.md", "Exit status: 0; 1 if"):
        assert word in text


DEADLINES = """
import time
from capsroute.bench.gpu.command import deadline
with deadline(0.3):
    pass
time.sleep(0.6)
print("met", flush=True)
with deadline(0.5):
    time.sleep(60)
"""


def test_a_run_that_hangs_is_ended_and_no_other() -> None:
    done = subprocess.run([sys.executable, "-c", DEADLINES], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (1, "met\n")
    assert "Timeout" in done.stderr
