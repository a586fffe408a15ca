"""``capsroute bench gpu`` from its command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from capsroute.bench import shapes
from capsroute.bench.gpu import command, correctness
from capsroute.cli import main

from .stand_in import CpuDevice

TINY = shapes.Shape("tiny", 6, 9, 4, 5, 3, 3, "")


def bench(*words: str) -> int:
    return main(["bench", *words])


@pytest.fixture
def _on_the_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "open_device", CpuDevice)
    monkeypatch.setattr(shapes, "SHAPES", (TINY, *shapes.SHAPES))


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
    results = correctness._results
    monkeypatch.setattr(correctness, "_results", lambda *a: {n: t * 2 for n, t in results(*a).items()})
    assert bench("gpu", "--out", str(tmp_path), "--shapes", "tiny", "--compare", "none") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("gpu", "--out", str(tmp_path / "out")) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        "capsroute: error: bench gpu needs a CUDA device that torch can use, and torch finds none here\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_on_the_stand_in")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gpu"], "the following arguments are required: --out"),
        (["gpu", "--out", "/proc/none"], "--out must be a folder that can be written, got '/proc/none': "),
        (["gpu", "--out", "x", "--shapes", "minst"], "mnist-16, mnist, cifar10"),
        (["gpu", "--out", "x", "--precisions", "int8"], "float32, tf32, bfloat16, float16; got 'int8'"),
        (["gpu", "--out", "x", "--precisions", ","], "float16; got none"),
        (["gpu", "--out", "x", "--compare", "jax"], "eager, compile; got 'jax'"),
        (["gpu", "--out", "x", "--budget", "0"], "--budget must be a number of seconds above 0; got 0"),
        (["gpu", "--out", "x", "--budget", "nan"], "--budget must be a number of seconds above 0; got nan"),
        (["gpu", "--out", "x", "--budget", "long"], "argument --budget: invalid float value: 'long'"),
        (["gpu", "--out", "x", "--rounds", "3"], "unrecognized arguments: --rounds 3"),
        (["--shapes", "mnist", "--rounds", "3", "gpu", "--out", "x"], "go after the word gpu; got --shapes --rounds"),
        (["mnist"], "invalid choice: 'mnist'"),
    ],
)
def test_bad_options(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(*words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("capsroute: error: ")
    assert said in shown.err
    assert shown.err.count("\n") == 1


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("gpu", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for word in ("--out DIR", "--budget SECONDS", "--max-autotune", "gpu.json", "gpu.md", "Exit status: 0; 1 if"):
        assert word in text


def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert bench("gpu", "--out", str(tmp_path)) == 2
    assert "pip install 'capsroute[bench]'" in capsys.readouterr().err


DEADLINE = """
import time
from capsroute.bench.gpu.command import deadline
with deadline({}):
    time.sleep({})
time.sleep({})
"""


def test_a_run_that_hangs_is_ended() -> None:
    code = DEADLINE.format(0.5, 60, 0)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == 1
    assert "Timeout" in done.stderr


def test_a_deadline_that_is_met_does_nothing() -> None:
    assert subprocess.run([sys.executable, "-c", DEADLINE.format(0.3, 0, 0.6)], timeout=50).returncode == 0
