"""What is put together from the findings of several pieces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from capsroute.bench.gpu.ceilings import Floor
from capsroute.bench.gpu.correctness import Check
from capsroute.bench.gpu.folder import Folder
from capsroute.bench.gpu.meter import Figures
from capsroute.bench.gpu.record import Record
from capsroute.bench.gpu.timings import Row
from capsroute.bench.timing import Timing

from . import report

FIGURES = Figures(Timing(2e-5, 1e-5, 3e-5, 1e-5, 5, 1), 1e-5, 1.5e-5, None, 1000)
OURS = Row("mnist", "1, 2, 3, 4, 5, 3", "float32", None, "capsroute", Floor(1e-5, "bytes"), FIGURES, 1e-7, "fused")
EAGER = replace(OURS, contender="eager bmm", kernel=None)
REFUSED = replace(OURS, contender="capsroute cluster", figures=None, error=None, problem="does not take this problem")
RIGHT = Check("mnist", 4, "float32", "all", "plain", {"output": 0.5}, True)
WRONG = replace(RIGHT, variant="grid", excess={"output": float("inf")}, passed=False, problem="wrong")


def record(*rows: Row, name: str = "one", checks: tuple[Check, ...] = (), finished: bool = True) -> Record:
    about = {
        "date": "today",
        "processor": "some",
        "torch": "2",
        "commit": "c0ffee",
        "gpu": {"name": name},
        "capsroute": {"version": "0", "cuda_archs": [90]},
    }
    return Record(about, rows=list(rows), checks=list(checks), notes=[f"note of {name}"], finished=finished)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = record(OURS, REFUSED, checks=(RIGHT, WRONG))
    Folder(tmp_path).write(written)
    assert Record.read(tmp_path / "gpu.json") == written


def test_the_first_of_two_counts() -> None:
    slower = replace(OURS, figures=replace(FIGURES, host_seconds=1.0))
    whole = report.joined([record(OURS, checks=(RIGHT,)), record(slower, EAGER, name="two", checks=(RIGHT, WRONG))])
    assert whole.rows == [OURS, EAGER]
    assert whole.checks == [RIGHT, WRONG]
    assert whole.notes == ["note of one", "note of two"]
    assert whole.environment["gpu"]["name"] == "one"
    assert whole.finished
    assert not report.joined([record(OURS), record(EAGER, finished=False)]).finished


def test_everything_is_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: path.touch())
    for number, row in enumerate((OURS, replace(OURS, shape="odd"))):
        Folder(tmp_path / f"bench-{number}").write(record(row))
    (tmp_path / "ncu-mnist-float32.csv").write_text(COUNTED)
    report.write(tmp_path)
    tables = (tmp_path / "gpu" / "gpu.md").read_text()
    assert "| mnist |" in tables
    assert "| odd |" in tables
    assert (tmp_path / "gpu" / "floor.png").exists()
    assert "## mnist-float32" in (tmp_path / "counters.md").read_text()


def test_nothing_found_is_nothing_put_together(tmp_path: Path) -> None:
    report.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["counters.md"]


COUNTED = """==PROF== Connected to process 7
fused kernels for D up to 16
"ID","Process ID","Kernel Name","Block Size","Section Name","Metric Name","Metric Unit","Metric Value","Rule Name"
"0","7","void capsroute::cuda::forward_kernel<2, 0>(ForwardParameters)","(256, 1, 1)","Speed","Duration","us","48.1",""
"0","7","void capsroute::cuda::forward_kernel<2, 0>(ForwardParameters)","(256, 1, 1)","Speed","","","","A rule"
"1","7","capsroute::cuda::finish_kernel(LastParameters)","(256, 1, 1)","Speed","Duration","us","1,234.5",""
"1","7","capsroute::cuda::finish_kernel(LastParameters)","(256, 1, 1)","Warps","Stalls","","0.5",""
==PROF== Disconnected
"""


def test_a_column_for_each_kernel() -> None:
    assert report.counters(COUNTED.splitlines()) == [
        "|  | forward_kernel<2, 0> | finish_kernel |",
        "| --- | ---: | ---: |",
        "| Speed: Duration [us] | 48.1 | 1,234.5 |",
        "| Warps: Stalls | - | 0.5 |",
    ]


@pytest.mark.parametrize("text", ["", "==ERROR== The user does not have permission\n", COUNTED.splitlines()[2]])
def test_where_nothing_was_counted_that_is_said(text: str) -> None:
    assert report.counters(text.splitlines()) == ["Nothing was counted."]
