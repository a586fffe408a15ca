"""Convolutional capsules beside plain PyTorch: all compute the same, and the page says what was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from capsroute.bench import peers
from capsroute.bench.convolution import Gain, Row, Shape, Workload, document, main, read, run

from ..packaging.tree import ROOT

SMALL = Shape(batch=4, types=8, size=8, outputs=16, output_size=8, side=8, kernel=3, stride=1, padding=1)


def test_the_default_is_the_shape_of_the_published_network() -> None:
    shape = Shape()
    assert (shape.inputs, shape.size, shape.outputs, shape.output_size) == (288, 16, 32, 16)
    assert (shape.positions, shape.batch) == (16, 64)
    assert shape.votes * 4 == 576 * 2**20


@pytest.mark.parametrize("shape", [SMALL, replace(SMALL, side=7, stride=2, padding=0, iterations=2)], ids=str)
def test_all_contenders_compute_the_same(shape: Shape) -> None:
    load = Workload(shape)
    ours, *others = (load.work(layer)() for layer in load.layers(["eager"]).values())
    assert len(others) == 2
    assert load.error(ours) < 1e-5
    for results in others:
        for mine, theirs in zip(ours, results, strict=True):
            assert mine.abs().max() > 0
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def test_votes_are_not_stored() -> None:
    rows = run(SMALL, ["eager"], rounds=1)
    assert [row.contender for row in rows] == ["capsroute", "eager einsum", "eager bmm"]
    ours, *others = (row.extra_bytes for row in rows)
    assert ours < SMALL.votes * 4 / 2
    assert all(taken > 3 * SMALL.votes * 4 for taken in others)
    assert Gain.over(rows, "eager").memory == pytest.approx(min(others) / ours)


def test_a_wrong_result_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "FORMULATIONS", {"wrong": lambda x, *others: peers.einsum(1.1 * x, *others)})
    ours, other = run(replace(SMALL, batch=2), ["eager"], rounds=1)
    assert ours.seconds is not None
    assert str(other.problem).startswith("wrong result: differs from the reference by")


def test_the_page_follows_from_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, results = tmp_path / "convolution.md", tmp_path / "convolution.json"
    arguments = ["--batch", "1", "--compare", "eager", "--rounds", "1", "--json", str(results), "--table", str(table)]
    assert main(arguments) == 0
    page = table.read_text(encoding="utf-8")
    assert page == document(*read(results))
    assert page in capsys.readouterr().out
    rows = json.loads(results.read_text(encoding="utf-8"))["rows"]
    assert [row["rounds"] for row in rows] == [1, 1, 1]
    assert "at 16 positions, 1 samples" in page.replace("\n", " ")


def test_gains_are_over_the_fastest_and_over_the_smallest() -> None:
    rows = [
        Row(contender="capsroute", seconds=1.0, extra_bytes=10),
        Row(contender="eager einsum", seconds=7.0, extra_bytes=300),
        Row(contender="eager bmm", seconds=6.0, extra_bytes=400),
        Row(contender="compile bmm", problem="failed"),
    ]
    assert Gain.over(rows, "eager") == Gain(6.0, 30.0)
    assert Gain.over(rows, "compile") == Gain(None, None)


def test_committed_results_are_as_promised() -> None:
    folder = ROOT / "docs/results/cpu"
    machine, shape, rows = read(folder / "convolution.json")
    assert (folder / "convolution.md").read_text(encoding="utf-8") == document(machine, shape, rows)
    assert shape == Shape()
    gain = Gain.over(rows, "eager")
    assert gain.time >= 4
    assert gain.memory >= 20


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--batch", "0"], "--batch: must be an int of at least 1, got '0'"),
        (["--rounds", "some"], "--rounds: must be an int of at least 1, got 'some'"),
        (["--compare", "lazy"], "compare must be among eager, compile; got 'lazy'"),
    ],
)
def test_wrong_arguments(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert text in capsys.readouterr().err
