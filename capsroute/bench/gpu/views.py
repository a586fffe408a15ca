"""Rows looked at side by side."""

from __future__ import annotations

from collections.abc import Iterable

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


def fastest(rows: Iterable[Row], family: str) -> Row | None:
    """The fastest contender that was timed and whose name begins with ``family``; None without one."""
    timed = [(row.seconds, k, row) for k, row in enumerate(rows) if row.contender.startswith(family)]
    return min((entry for entry in timed if entry[0] is not None), default=(None, 0, None))[2]


def speedup(contenders: Contenders, family: str) -> float | None:
    """How many times longer the fastest of a family takes than the package; None where one of them has no time."""
    ours, peer = contenders.get(OURS), fastest(contenders.values(), family)
    if ours is None or peer is None or not ours.seconds or peer.seconds is None:
        return None
    return peer.seconds / ours.seconds
