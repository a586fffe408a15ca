"""The points of a sweep, and the threads that it borrows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from capsroute.bench import ceilings, shapes, sweep
from capsroute.bench.ceilings import Ceilings
from capsroute.bench.shapes import Shape
from capsroute.bench.suite import Plan, Row
from capsroute.bench.sweep import Point, points

LIMITS = Ceilings(flops=1e11, bandwidth=1e10)


def test_one_size_changes() -> None:
    base = shapes.by_names(["mnist"])[0]
    assert Point("I", 72).shape == replace(base, name="mnist I=72", inputs=72)
    assert Point("T", 9).shape == replace(base, name="mnist T=9", iterations=9)
    assert Point("threads", 2).shape == replace(base, name="mnist threads=2")


@pytest.mark.parametrize("axis", sweep.AXES[:-1])
def test_every_axis_rises(axis: str) -> None:
    values = [point.value for point in points(axis)]
    assert len(values) == 7
    assert values == sorted(set(values))


@pytest.mark.parametrize(("most", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_threads_are_doubled(most: int, counts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: most)
    assert [point.value for point in points("threads")] == counts


def test_threads_have_limits_of_their_own_and_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    measured: list[int] = []

    def measure(dtype: torch.dtype) -> Ceilings:
        measured.append(torch.get_num_threads())
        return Ceilings(1e9 * measured[-1], 1e12)

    monkeypatch.setattr(ceilings, "measure", measure)
    monkeypatch.setattr(sweep, "points", lambda axis: [Point(axis, 2), Point(axis, 1)])
    monkeypatch.setattr(shapes, "SHAPES", (Shape("mnist", 2, 3, 4, 5, 6, 2, ""),))
    rows: list[Row] = []
    for point, shape, finished in sweep.run(["threads"], Plan([], compare=[], gradients=[], rounds=1), LIMITS):
        assert torch.get_num_threads() == point.value
        assert shape == point.shape
        rows += finished
    assert measured == [2, 1]
    assert 2 * rows[0].limit_seconds == rows[1].limit_seconds
    assert torch.get_num_threads() == 2
