"""A run as figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from capsroute.training.paths import AnyPath, as_path

from . import panels
from .contenders import fastest
from .names import grouped
from .record import Record
from .suite import Row, by_pass, title
from .sweep import THREADS, Point

Shapes = dict[str, list[Row]]  # contenders by shape
Swept = Sequence[tuple[Point, Row]]  # of one axis and one pass

_SIZES = {
    "B": "samples in a batch, B",
    "I": "input capsules, I",
    "J": "output capsules, J",
    "T": "iterations, T",
    THREADS: "threads",
}


def draw(folder: AnyPath, record: Record) -> None:
    """Draw each figure for which there are times, as PNG, into a folder that is made if absent."""
    folder = as_path("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    shapes = _passes(record.rows)
    if shapes:
        height = 1.5 + 0.45 * max(map(len, shapes.values()))
        for name, fill in (("speedup.png", panels.draw_speedups), ("limit.png", _shares)):
            panels.save(folder / name, shapes, [fill], height, record.headline)
    for axis, swept in grouped(record.swept, lambda pair: pair[0].axis).items():
        note = "\n".join([record.headline, *_left_out(swept)])
        passes = grouped(swept, lambda pair: title(pair[1].passes, pair[1].gradient))
        panels.save(folder / f"sweep-{axis}.png", passes, [_times, _memory], 8.0, note)


def _passes(rows: Sequence[Row]) -> dict[str, Shapes]:
    """Contenders by shape, for each pass by its title."""
    found: dict[str, Shapes] = {}
    for (shape, gradient), contenders in by_pass(rows).items():
        found.setdefault(title(contenders[0].passes, gradient), {})[shape] = contenders
    return found


def _shares(axes: Any, shapes: Shapes) -> bool:
    """Bars by shape: the limit's time in percent of the time that the package and the best peers take."""
    found = False
    for k, family in enumerate(panels.FAMILIES):
        rows = [fastest(contenders, family) for contenders in shapes.values()]
        shares = [None if row is None else row.limit_share for row in rows]
        bars = [(place + 0.27 * (k - 1), 100 * share) for place, share in enumerate(shares) if share is not None]
        if bars:
            axes.barh(*zip(*bars, strict=True), height=0.27, label=family, color=panels.colour(family))
            found = True
    panels.name_bars(axes, shapes)
    axes.axvline(100, color="black", linewidth=1)  # beyond it is who makes the votes once: see flops.py
    axes.set_xlabel("% of the limit by operations and bytes")
    return found


def _times(axes: Any, swept: Swept) -> bool:
    """Lines: the time of the package and of the best peers over the size, and the limit below them."""
    found = _lines(axes, swept, lambda row: None if row.seconds is None else row.seconds * 1e3)
    limits = {point.value: row.limit_seconds * 1e3 for point, row in swept if row.limit_seconds is not None}
    if limits:
        axes.plot(*zip(*sorted(limits.items()), strict=True), "--", color="black", linewidth=1, label="limit")
    axes.set_ylabel("time / ms")
    return found


def _memory(axes: Any, swept: Swept) -> bool:
    """Lines: the extra memory of the same contenders."""
    found = _lines(axes, swept, lambda row: row.extra_bytes / 2**20 if row.extra_bytes else None)
    axes.set_ylabel("extra memory / MiB")
    return found


def _lines(axes: Any, swept: Swept, number: Callable[[Row], float | None]) -> bool:
    """A line for the package and for the fastest peer of each family, over the size, both axes logarithmic."""
    found = False
    by_value = {value: [row for _, row in at] for value, at in grouped(swept, lambda pair: pair[0].value).items()}
    for family in panels.FAMILIES:
        best = {value: fastest(rows, family) for value, rows in by_value.items()}
        numbers = {value: None if row is None else number(row) for value, row in best.items()}
        points = [(value, y) for value, y in sorted(numbers.items()) if y is not None]
        if points:
            axes.loglog(*zip(*points, strict=True), "o-", label=family, color=panels.colour(family))
            found = True
    values = sorted(by_value)
    axes.set_xticks(values, map(str, values))
    axes.minorticks_off()
    panels.write_numbers(axes.yaxis)
    axes.set_xlabel(_SIZES[swept[0][0].axis])
    return found


def _left_out(swept: Swept) -> list[str]:
    """A line for each contender that was not timed somewhere."""
    return [
        f"{row.contender}, {title(row.passes, row.gradient)}, {point.axis} = {point.value}: {row.problem}"
        for point, row in swept
        if row.problem is not None
    ]
