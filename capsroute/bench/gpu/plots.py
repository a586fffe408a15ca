"""A run as figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from capsroute.bench import panels
from capsroute.bench.contenders import OURS, fastest
from capsroute.bench.names import grouped
from capsroute.training.paths import AnyPath, as_path

from .plan import FIRST, is_swept, passes_of
from .timings import Contenders, Row, by_shape

_PASSES = (None, "all")


def draw(folder: AnyPath, rows: Sequence[Row]) -> None:
    """Draw each figure for which there are rows, of the precision that has most of them."""
    folder = as_path("folder", folder)
    if not rows:
        return
    precision, shown = max(grouped(rows, lambda row: row.precision).items(), key=lambda item: len(item[1]))
    by_pass = {f"{passes_of(g)}, {precision}": by_shape(r for r in shown if r.gradient == g) for g in _PASSES}
    for name, (fill, height) in _FIGURES.items():
        panels.save(folder / name, by_pass, [fill], height)


def _speedups(axes: Any, shapes: dict[str, Contenders]) -> bool:
    """Bars, without the shapes that differ in their batch alone."""
    listed = {name: list(contenders.values()) for name, contenders in shapes.items() if not is_swept(name)}
    return panels.draw_speedups(axes, listed)


def _against_floor(axes: Any, shapes: dict[str, Contenders]) -> bool:
    """Points: the time of each shape over its floor."""
    found = False
    for family in panels.FAMILIES:
        timed = _timed(shapes, family)
        points = [(row.floor.seconds * 1e6, time) for name, row, time in timed if not is_swept(name)]
        if points:
            axes.loglog(*zip(*points, strict=True), "o", label=family, color=panels.colour(family))
            found = True
    if found:
        ends = sorted(axes.get_xlim())
        for factor in (1, 2, 10):
            axes.plot(ends, [factor * end for end in ends], "--", color="grey", linewidth=1)
            axes.annotate(f"{factor}×", (ends[1], factor * ends[1]), fontsize="small", color="grey")
    axes.set_xlabel("floor from bytes and operations / µs")
    axes.set_ylabel("time / µs")
    return found


def _batches(axes: Any, shapes: dict[str, Contenders]) -> bool:
    """Lines: times over the batch, of the first shape and those that differ from it in their batch alone."""
    sizes = {name: next(iter(contenders.values())).sizes.split(", ") for name, contenders in shapes.items()}
    alike = [name for name in shapes if FIRST in sizes and sizes[name][1:] == sizes[FIRST][1:]]
    found = False
    for family in panels.FAMILIES:
        points = [(int(sizes[name][0]), time) for name, _, time in _timed(shapes, family) if name in alike]
        if len(points) > 1:
            axes.loglog(*zip(*sorted(points), strict=True), "o-", label=family, color=panels.colour(family))
            found = True
    axes.set_xlabel("samples in a batch")
    axes.set_ylabel("time / µs")
    return found


def _timed(shapes: dict[str, Contenders], family: str) -> list[tuple[str, Row, float]]:
    """Name, row and time in µs of the package itself, or of the fastest of a family, wherever it was timed."""
    rows = {n: c.get(OURS) if family == OURS else fastest(c.values(), family) for n, c in shapes.items()}
    return [(name, row, row.seconds * 1e6) for name, row in rows.items() if row is not None and row.seconds is not None]


_FIGURES: dict[str, tuple[panels.Fill[dict[str, Contenders]], float]] = {
    "speedup.png": (_speedups, 6.0),
    "floor.png": (_against_floor, 5.0),
    "batches.png": (_batches, 4.5),
}
NAMES = tuple(_FIGURES)
