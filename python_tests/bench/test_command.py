"""``capsroute bench`` from its command line: what it writes, and what it answers to options that make no sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from capsroute import _native
from capsroute.bench import ceilings, environment, shapes, sweep
from capsroute.cli import main

TINY = shapes.Shape("tiny", 6, 9, 4, 5, 3, 3, "")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "SHAPES", (TINY, *shapes.SHAPES))
    monkeypatch.setattr(ceilings, "_ROUNDS", 1000)
    monkeypatch.setattr(ceilings, "_BYTES", 4096)
    monkeypatch.setattr(sweep, "BASE", "tiny")
    monkeypatch.setattr(sweep, "_VALUES", {"B": (2, 6), "T": (1, 2)})


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
    assert content["environment"]["capsroute"]["cpu_isa"] == _native.cpu_isa()
    assert content["sweeps"] == []


def test_sweep_and_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, figures = tmp_path / "out.json", tmp_path / "made" / "figures"
    words = ["--sweep", "B,threads", "--compare", "none", "--rounds", "1", "--threads", "2"]
    assert command(*words, "--json", str(path), "--plot", str(figures)) == 0
    shown = capsys.readouterr().out
    assert "tiny B=2: B, I, d, J, D, T = 2, 9, 4, 5, 3, 3" in shown
    assert "(last)" not in shown
    content = json.loads(path.read_text())
    assert content["rows"] == []
    found = [(row["axis"], row["value"], row["gradient"]) for row in content["sweeps"]]
    places = [("B", 2), ("B", 6), ("threads", 1), ("threads", 2)]
    assert found == [(*place, gradient) for place in places for gradient in (None, "all")]
    assert sorted(p.name for p in figures.iterdir()) == ["sweep-B.png", "sweep-threads.png"]


def test_shapes_beside_a_sweep(tmp_path: Path) -> None:
    words = ["--sweep", "T", "--shapes", "tiny", "--compare", "none", "--rounds", "1", "--gradient", "last"]
    assert command(*words, "--plot", str(tmp_path)) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["limit.png", "sweep-T.png"]


def test_baseline_both_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "baseline.json"
    words = ["--shapes", "tiny", "--compare", "eager", "--rounds", "3", "--gradient", "all"]
    assert command(*words, "--write-baseline", str(path)) == 0
    stored = json.loads(path.read_text())
    assert [(entry["shape"], entry["gradient"]) for entry in stored["ratios"]] == [("tiny", None), ("tiny", "all")]
    capsys.readouterr()
    for factor, status, said in ((0.01, 0, "0 of 2 ratios are lost"), (100.0, 1, "2 of 2 ratios are lost")):
        ratios = [entry | {"eager": factor * entry["eager"]} for entry in stored["ratios"]]
        path.write_text(json.dumps(stored | {"ratios": ratios}))
        assert command(*words, "--baseline", str(path)) == status
        shown = capsys.readouterr().out
        assert said in shown
        assert ("times in the baseline, a loss of 9" in shown) == (status == 1)


def test_a_comparison_of_nothing_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps({"environment": environment.describe(), "dtype": "float32", "ratios": []}))
    assert command("--shapes", "tiny", "--compare", "none", "--rounds", "1", "--baseline", str(path)) == 1
    assert "A comparison of nothing proves nothing" in capsys.readouterr().out


def test_a_baseline_of_another_type_or_no_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps({"environment": {}, "dtype": "float64", "ratios": []}))
    assert command("--baseline", str(path)) == 2
    assert "--baseline must be of the --dtype float32, got one of float64" in capsys.readouterr().err
    path.write_text("{}")
    assert command("--baseline", str(path)) == 2
    assert "--baseline must be a file that --write-baseline wrote" in capsys.readouterr().err


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
        (["--write-baseline", "/nowhere/out.json"], "--write-baseline must be a file that can be written"),
        (["--baseline", "/nowhere/out.json"], "--baseline must be a file that can be read"),
        (["--plot", "/dev/null/figures"], "--plot must be a folder that can be written"),
        (["--sweep", "B,D"], "sweep must be among B, I, J, T, threads; got 'D'"),
        (["--sweep", ","], "threads; got none"),
        (["--device", "cuda"], "capsroute bench gpu --out DIR"),
        (["--plot", "x", "--sweep", "B", "gpu", "--out", "y"], "got --sweep --plot before it"),
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
