"""A whole run in small: its rows, the table and the file."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor

from capsroute.bench import files, peers, report, suite
from capsroute.bench.ceilings import Ceilings
from capsroute.bench.record import Record
from capsroute.bench.shapes import Shape
from capsroute.bench.suite import Plan, Row
from capsroute.bench.sweep import Point
from capsroute.bench.workload import Workload

LIMITS = Ceilings(flops=1e11, bandwidth=1e10)
SHAPE = Shape("tiny", 6, 9, 4, 5, 3, 3, "")
EAGER = Plan([SHAPE], compare=["eager"], rounds=1)


def rows_of(plan: Plan) -> list[Row]:
    return [row for _, rows in suite.run(plan, LIMITS) for row in rows]


@pytest.mark.parametrize("dtype", suite.DTYPES)
def test_rows(dtype: str) -> None:
    rows = rows_of(Plan([SHAPE], dtype, ["eager"], rounds=2))
    assert [(row.passes, row.gradient, row.contender) for row in rows] == [
        (passes, gradient, contender)
        for passes, gradient in (("forward", None), ("forward+backward", "all"), ("forward+backward", "last"))
        for contender in ("capsroute", "eager einsum", "eager bmm")
    ]
    for row in rows:
        assert row.problem is None
        assert row.seconds > 0
        assert row.rounds == 2
        assert row.peak_share == pytest.approx(row.flops_per_second / LIMITS.flops)
        assert row.error <= suite.ALLOWED_ERROR[suite.DTYPES[dtype]]
    best_eager = min(row.seconds for row in rows[1:3])
    assert [row.speedup for row in rows[:3]] == pytest.approx([best_eager / row.seconds for row in rows[:3]])
    # 6 x 9 x 5 x 3 vote components of 16 multiply-adds; x, weight and output of 216, 540 and 90 numbers.
    element = suite.DTYPES[dtype].itemsize
    assert rows[0].limit_seconds == max(2 * 810 * 16 / LIMITS.flops, element * 846 / LIMITS.bandwidth)
    assert rows[0].limit_share == rows[0].limit_seconds / rows[0].seconds


def test_eager_keeps_the_votes_and_capsroute_does_not() -> None:
    shape = Shape("wide", 16, 128, 8, 16, 16, 3, "")
    for row in rows_of(Plan([shape], compare=["eager"], gradients=["all"], rounds=1)):
        assert (row.extra_bytes < 4 * shape.votes) == (row.contender == "capsroute"), row


@pytest.mark.usefixtures("quick_compiler")
def test_compiled_peers_run() -> None:
    rows = rows_of(Plan([SHAPE], compare=["compile"], gradients=["last"], rounds=1))
    assert [row.contender for row in rows[:3]] == ["capsroute", "compile einsum", "compile bmm"]
    assert all(row.problem is None and row.speedup is None for row in rows)
    assert rows[0].compile_speedup == pytest.approx(min(row.seconds for row in rows[1:3]) / rows[0].seconds)


def test_a_peer_that_does_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capsroute.bench.memory.available_bytes", lambda: 100)
    ours, *others = rows_of(EAGER)[:3]
    assert ours.problem is None
    assert all("GiB are free" in str(row.problem) for row in others)


class Halved(torch.autograd.Function):
    """A gradient that is wrong, behind a result that is right."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad / 2


def test_a_wrong_gradient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check looks at the backward too."""
    monkeypatch.setattr(peers, "FORMULATIONS", {"halved": lambda *given: Halved.apply(peers.einsum(*given))})
    forward, backward, _ = (row for row in rows_of(EAGER) if row.contender == "eager halved")
    assert forward.problem is None
    assert "wrong result" in str(backward.problem)


@pytest.mark.parametrize("part", [0, 1], ids=["output", "gradient of x"])
def test_the_error_keeps_a_nan(part: int) -> None:
    """In any part, and whatever the others are."""
    load = Workload(SHAPE, torch.float32, "all")
    results = load.work(load.ours())()
    assert load.error(results) < 1e-5
    results[part][1, 2, 0] = torch.nan
    assert math.isnan(load.error(results))


ROW = Row("tiny", "", "forward", None, "float32", contender="capsroute", seconds=0.00125, speedup=12.345, error=2e-7)
FAILED = Row("tiny", "", "forward+backward", "last", "float32", contender="compile bmm", problem="failed: X: y")


@pytest.mark.parametrize("terminal", [False, True])
def test_live_report_shows_every_shape_and_row(terminal: bool) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=80)
    with report.LiveReport(console) as live:
        live.headline("a machine")
        live.tell(SHAPE, "checking")
        live.add(SHAPE, [ROW, FAILED])
        live.add(Shape("other", 1, 2, 3, 4, 5, 6, ""), [ROW])
    shown = text.getvalue()
    assert "a machine" in shown
    assert "tiny: B, I, d, J, D, T = 6, 9, 4, 5, 3, 3" in shown
    assert "other: B, I, d, J, D, T = 1, 2, 3, 4, 5, 6" in shown
    assert shown.count("12.35") >= 2
    assert terminal or "capsroute 1.25 12.35 - - - - 2e-07" in " ".join(shown.split())
    assert "compile bmm, forward+backward: failed: X: y" in shown
    assert ("checking" in shown) == terminal


def test_record_as_json(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    files.check_writable(path)
    assert list(tmp_path.iterdir()) == []
    lost = replace(ROW, error=math.nan)
    Record({"torch": "2"}, LIMITS, [lost], [(Point("B", 4), FAILED)]).write(path)
    content = json.loads(path.read_text())
    assert content["environment"] == {"torch": "2"}
    assert content["ceilings"] == {"flops": 1e11, "bandwidth": 1e10}
    assert content["rows"][0]["seconds"] == 0.00125
    assert content["rows"][0]["error"] is None  # JSON has no NaN
    (swept,) = content["sweeps"]
    assert (swept["axis"], swept["value"], swept["problem"]) == ("B", 4, "failed: X: y")
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_a_file_that_cannot_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        files.check_writable(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.check_writable(tmp_path / "missing" / "result.json")
