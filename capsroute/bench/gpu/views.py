"""Rows looked at side by side."""

from __future__ import annotations

from collections.abc import Iterable

from capsroute.bench.compare import fastest, ratio
from capsroute.bench.workload import OURS

from .plan import is_swept
from .timings import Row

Contenders = dict[str, Row]


def by_shape(rows: Iterable[Row]) -> dict[str, Contenders]:
    """Rows of one pass and precision by shape and contender; the shapes that differ in their batch alone come last."""
    shapes: dict[str, Contenders] = {}
    for row in rows:
        shapes.setdefault(row.shape, {})[row.contender] = row
    return {name: shapes[name] for name in sorted(shapes, key=is_swept)}


def speedup(contenders: Contenders, family: str) -> float | None:
    """How many times longer the fastest of a family takes than the package; None where one of them has no time."""
    return ratio(fastest(contenders.values(), family), contenders.get(OURS))
