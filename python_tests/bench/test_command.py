"""``capsroute bench`` from its command line: what it writes, and what it answers to options that make no sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from capsroute.bench import ceilings, environment, shapes
from capsroute.cli import main

TINY = shapes.Shape("tiny", 6, 9, 4, 5, 3, 3, "")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "SHAPES", (TINY, *shapes.SHAPES))
    monkeypatch.setattr(ceilings, "_ROUNDS", 1000)
    monkeypatch.setattr(ceilings, "_BYTES", 4096)


def command(*words: str) -> int:
    return main(["bench", *words])


def test_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    words = ["--shapes", "tiny", "--compare", "eager", "--rounds", "2", "--threads", "1", "--json", str(path)]
    assert command(*words) == 0
    shown = capsys.readouterr()
    assert "tiny: B, I, d, J, D, T = 6, 9, 4, 5, 3, 3" in shown.out
    for text in ("forward+backward (last)", "capsroute", "eager einsum", "GFLOP/s"):
        assert text in shown.out
    assert shown.err == ""
    content = json.loads(path.read_text())
    assert len(content["rows"]) == 9
    assert content["environment"]["threads"] == torch.get_num_threads() == 1
    assert content["environment"]["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shapes", "minst"], "single-image, mnist-16, mnist, cifar10"),
        (["--shapes", "minst"], "got 'minst'"),
        (["--shapes", ","], "odd; got none"),
        (["--dtype", "int8"], "float32, float64, bfloat16, float16; got 'int8'"),
        (["--compare", "jax"], "eager, compile; got 'jax'"),
        (["--rounds", "0"], "--rounds must be at least 1; got 0"),
        (["--threads", "-3"], "--threads must be at least 1; got -3"),
        (["--json", "/nowhere/out.json"], "No such file or directory"),
    ],
)
def test_bad_options(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("capsroute: error: ")
    assert said in shown.err
    assert shown.err.count("\n") == 1


def test_nothing_to_compare_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--shapes", "tiny", "--compare", "none", "--gradient", "last", "--rounds", "1") == 0
    assert "eager" not in capsys.readouterr().out.replace("x eager", "")


def test_environment_names_what_the_numbers_depend_on() -> None:
    described = environment.describe()
    assert {"processor", "cores", "threads", "torch", "capsroute", "python", "system", "date"} <= described.keys()
    assert json.loads(json.dumps(described)) == described
    line = environment.headline(described)
    assert described["processor"] in line
    assert described["capsroute"]["cpu_isa"] in line
