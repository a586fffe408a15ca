"""What the figures draw, read back from their axes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from capsroute.bench import environment, plots
from capsroute.bench.ceilings import Ceilings
from capsroute.bench.record import Record
from capsroute.bench.suite import Row
from capsroute.bench.sweep import Point

LIMITS = Ceilings(flops=1e11, bandwidth=1e10)
SIZES = {"seconds": 2e-3, "limit_seconds": 1e-3, "extra_bytes": 2**20}
OURS = Row("mnist", "", "forward", None, "float32", contender="capsroute", **SIZES)
EAGER = replace(OURS, contender="eager bmm", seconds=8e-3, extra_bytes=2**25)
SLOWER = replace(EAGER, contender="eager einsum", seconds=9e-3)
COMPILED = replace(OURS, contender="compile bmm", seconds=1e-3)
LEFT_OUT = replace(OURS, contender="eager bmm", seconds=None, limit_seconds=None, extra_bytes=None, problem="too large")


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """The figures that would be saved, by the names of their files."""
    found: dict[str, Figure] = {}
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: found.setdefault(path.name, figure))
    return found


def draw(folder: Path, rows: list[Row], swept: list[tuple[Point, Row]]) -> None:
    plots.draw(folder, Record(environment.describe(), LIMITS, rows, swept))


def test_speedups_show_who_loses(tmp_path: Path, saved: dict[str, Figure]) -> None:
    odd = [replace(row, shape="odd") for row in (OURS, COMPILED)]
    draw(tmp_path, [OURS, SLOWER, EAGER, COMPILED, *odd], [])
    assert sorted(saved) == ["limit.png", "speedup.png"]
    (axes,) = saved["speedup.png"].axes
    assert axes.get_title() == "forward"
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["mnist", "odd"]
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
    assert ends == pytest.approx([4.0, 0.5, 0.5])  # eager bmm, the faster one; then compile, twice
    (axes,) = saved["limit.png"].axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([50.0, 50.0, 100.0, 100.0, 12.5])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["capsroute", "compile", "eager"]


def test_a_sweep_shows_times_memory_the_limit_and_what_is_left_out(tmp_path: Path, saved: dict[str, Figure]) -> None:
    double = replace(OURS, seconds=4e-3, limit_seconds=2e-3, extra_bytes=2**21)
    swept = [(Point("B", 4), row) for row in (OURS, SLOWER, EAGER)]
    swept += [(Point("B", 8), double), (Point("B", 8), LEFT_OUT)]
    draw(tmp_path, [], [*swept, (Point("B", 4), replace(OURS, passes="forward+backward", gradient="all"))])
    assert list(saved) == ["sweep-B.png"]
    times, backward, memory, _ = saved["sweep-B.png"].axes
    assert [times.get_title(), backward.get_title()] == ["forward", "forward+backward (all)"]
    assert [times.get_xscale(), times.get_yscale(), memory.get_yscale()] == ["log", "log", "log"]
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in times.lines}
    assert lines == {"capsroute": ([4, 8], [2.0, 4.0]), "eager": ([4], [8.0]), "limit": ([4, 8], [1.0, 2.0])}
    assert {line.get_label(): list(line.get_ydata()) for line in memory.lines} == {
        "capsroute": [1.0, 2.0],
        "eager": [32.0],
    }
    assert "eager bmm, forward, B = 8: too large" in saved["sweep-B.png"].get_supxlabel()


def test_nothing_to_draw(tmp_path: Path, saved: dict[str, Figure]) -> None:
    draw(tmp_path, [LEFT_OUT], [(Point("B", 4), LEFT_OUT)])
    assert not saved
