"""``capsroute bench`` from its command line: what it writes, and what it answers to options that make no sense."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from capsroute import _native
from capsroute.bench import ceilings, environment, shapes, sweep
from capsroute.bench.gpu import command as gpu_command
from capsroute.cli import main

TINY = shapes.Shape("tiny", 6, 9, 4, 5, 3, 3, "")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "SHAPES", (TINY, *shapes.SHAPES))
    monkeypatch.setattr(ceilings, "_ROUNDS", 1000)
    monkeypatch.setattr(ceilings, "_BYTES", 4096)
    monkeypatch.setattr(sweep, "BASE", "tiny")
    monkeypatch.setattr(sweep, "_VALUES", {"B": (2, 6)})


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


def test_sweep_and_shapes_with_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: path.touch())
    path, figures = tmp_path / "out.json", tmp_path / "made" / "figures"
    words = ["--sweep", "B,threads", "--shapes", "tiny", "--compare", "none", "--rounds", "1", "--threads", "1"]
    assert command(*words, "--json", str(path), "--plot", str(figures)) == 0
    assert "tiny B=2: B, I, d, J, D, T = 2, 9, 4, 5, 3, 3" in capsys.readouterr().out
    content = json.loads(path.read_text())
    assert [row["gradient"] for row in content["rows"]] == [None, "all", "last"]
    found = [(row["axis"], row["value"], row["gradient"]) for row in content["sweeps"]]
    places = [("B", 2), ("B", 6), ("threads", 1)]
    assert found == [(*place, gradient) for place in places for gradient in (None, "all")]
    assert sorted(p.name for p in figures.iterdir()) == ["limit.png", "sweep-B.png", "sweep-threads.png"]


def test_baseline_both_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "baseline.json"
    words = ["--shapes", "tiny", "--compare", "eager", "--rounds", "1", "--gradient", "all"]
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
    assert command("--shapes", "tiny", "--compare", "eager", "--rounds", "1", "--baseline", str(path)) == 1
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
        ("--shapes minst", "single-image, mnist-16, mnist, cifar10"),
        ("--shapes ,", "odd; got none"),
        ("--dtype int8", "float32, float64, bfloat16, float16; got 'int8'"),
        ("--compare jax", "eager, compile; got 'jax'"),
        ("--rounds 0", "--rounds must be at least 1; got 0"),
        ("--threads -3", "--threads must be at least 1; got -3"),
        ("--json /nowhere/out.json", "--json must be a file that can be written, got '/nowhere/out.json': No such"),
        ("--write-baseline /nowhere/out.json", "--write-baseline must be a file that can be written"),
        ("--baseline /nowhere/out.json", "--baseline must be a file that can be read"),
        ("--plot /dev/null/figures", "--plot must be a folder that can be written"),
        ("--sweep B,D", "sweep must be among B, I, J, T, threads; got 'D'"),
        ("--sweep ,", "threads; got none"),
        ("--device cuda", "capsroute bench gpu --out DIR"),
        ("mnist", "invalid choice: 'mnist'"),
        ("--plot x --sweep B gpu --out y", "after the word gpu; got --sweep --plot before it"),
        ("--rounds 3 training", "options of bench training go after the word training; got --rounds before it"),
        ("training --batch 0", "--batch must be at least 1; got 0"),
        ("training --rounds 0", "--rounds must be at least 1; got 0"),
        ("training --convolutions float16", "--convolutions must be among float32, bfloat16; got 'float16'"),
        ("training --compare jax", "eager, compile; got 'jax'"),
        ("training --json /nowhere/out.json", "--json must be a file that can be written"),
        ("gpu", "the following arguments are required: --out"),
        ("gpu --out /proc/none", "--out must be a folder that can be written, got '/proc/none': "),
        ("gpu --out x --shapes minst", "mnist-16, mnist, cifar10"),
        ("gpu --out x --precisions int8", "float32, tf32, bfloat16, float16; got 'int8'"),
        ("gpu --out x --precisions ,", "float16; got none"),
        ("gpu --out x --compare jax", "eager, compile; got 'jax'"),
        ("gpu --out x --budget 0", "--budget must be a number of seconds above 0; got 0"),
        ("gpu --out x --budget nan", "--budget must be a number of seconds above 0; got nan"),
        ("gpu --out x --budget long", "argument --budget: invalid float value: 'long'"),
        ("gpu --out x --rounds 3", "unrecognized arguments: --rounds 3"),
    ],
)
def test_bad_options(
    words: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of each benchmark: one sentence, and status 2."""
    monkeypatch.setattr(gpu_command, "open_device", lambda: None)
    assert command(*words.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("capsroute: error: ")
    assert said in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "package"),
    [("", "rich"), ("training", "rich"), ("--plot x", "matplotlib"), ("gpu --out x", "matplotlib")],
)
def test_a_missing_package_is_named(
    words: str, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert command(*words.split()) == 2
    assert f"needs the package {package}; install it with: pip install 'capsroute[bench]'" in capsys.readouterr().err


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
