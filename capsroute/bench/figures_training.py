"""Training steps as tables and as a figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from capsroute.training.paths import AnyPath

from . import panels
from .contenders import OURS, fastest, ratio
from .names import grouped
from .panels import FAMILIES
from .texts import Columns, number, paragraph, significant, table
from .training_suite import Row

_COLUMNS: Columns[tuple[Row, Row | None]] = {  # of a step, and of that with the package
    "convolutions": lambda pair: pair[0].convolutions,
    "routing by": lambda pair: pair[0].contender,
    "ms per step": lambda pair: significant(pair[0].seconds, 1e3),
    "images/s": lambda pair: number(pair[0].images_per_second, ".0f"),
    "routing ms": lambda pair: significant(pair[0].routing_seconds, 1e3),
    "share of the step": lambda pair: number(pair[0].routing_share, ".0%"),
    "× capsroute's": lambda pair: number(ratio(*pair), ".2f"),
    "MiB": lambda pair: number(pair[0].extra_bytes, ".0f", 2**-20),
}


def summary(rows: Sequence[Row]) -> list[str]:
    """The step with the package and with the fastest peer of each family, by type of the convolutions."""
    shown = [fastest(found, family) for found in _runs(rows).values() for family in FAMILIES]
    return _table(rows, (row for row in shown if row is not None))


def details(rows: Sequence[Row]) -> list[str]:
    """The step with every contender."""
    failed = [f"- {row.contender}, {row.convolutions}: {row.problem}" for row in rows if row.problem is not None]
    return [*_table(rows, rows), *(["", *failed] if failed else [])]


def draw(path: AnyPath, rows: Sequence[Row], note: str) -> None:
    """Bars: how much of each step is routing; a PNG with a note in small print."""
    runs = {f"convolutions in {name}": [r for r in found if r.seconds] for name, found in _runs(rows).items()}
    panels.save(path, runs, [_bars], 3.5, note)


def _runs(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by type of the convolutions."""
    return grouped(rows, lambda row: row.convolutions)


def _table(rows: Sequence[Row], shown: Iterable[Row]) -> list[str]:
    runs = _runs(rows)
    batches = ", ".join(dict.fromkeys(str(row.batch) for row in rows))
    legend = (
        f"CapsNet for 28x28 images, {batches} images per step: forward, margin and reconstruction loss, backward, "
        "Adam. Routing is in float32 throughout; with *convolutions* in bfloat16 all else is under autocast. *routing "
        "ms* is the routing alone, forward and backward, on tensors of the same sizes, timed in the same rounds; its "
        "*share of the step* is this over the time of the step. *× capsroute's* is the time of the step over that with "
        "capsroute, *MiB* the peak memory beyond parameters, their gradients and the state of Adam."
    )
    pairs = [(row, fastest(runs[row.convolutions], OURS)) for row in shown]
    return [*paragraph(legend), "", *table(_COLUMNS, pairs)]


def _bars(axes: Any, rows: Sequence[Row]) -> bool:
    """One bar per contender: the routing, and what is left of the step."""
    steps = [1e3 * (row.seconds or 0) for row in rows]
    routing = [min(step, 1e3 * (row.routing_seconds or 0)) for step, row in zip(steps, rows, strict=True)]
    rest = [step - part for step, part in zip(steps, routing, strict=True)]
    axes.barh(range(len(rows)), routing, label="routing alone")
    axes.barh(range(len(rows)), rest, left=routing, label="the rest of the step")
    panels.name_bars(axes, [row.contender for row in rows])
    axes.set_xlabel("ms per step")
    return bool(rows)
