"""What pytest-benchmark's JSON says of a contender beside the others of its group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from capsroute.bench.contenders import fastest, ratio
from capsroute.bench.names import grouped
from capsroute.bench.peers import FAMILIES


@dataclass(frozen=True)
class _Timed:
    contender: str
    seconds: float
    entry: dict[str, Any]


def add_ratios(entries: Iterable[dict[str, Any]]) -> None:
    """Add to the ``extra_info`` of each entry how many times longer the best peers of its group take.

    Args:
        entries: The ``benchmarks`` of the file. ``times_faster_than_eager`` and ``times_faster_than_compile`` are
            added, each where the group has a peer of that family.
    """
    timed = [_Timed(entry["extra_info"]["contender"], entry["stats"]["median"], entry) for entry in entries]
    for group in grouped(timed, lambda one: one.entry["group"]).values():
        for family in FAMILIES:
            best = fastest(group, family)
            for one in group if best is not None else ():
                one.entry["extra_info"][f"times_faster_than_{family}"] = ratio(best, one)
