"""Contenders beside each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar


class Timed(Protocol):
    """A row of any run."""

    @property
    def contender(self) -> str:
        """``"capsroute"`` or a peer, whose name begins with its family."""
        ...

    @property
    def seconds(self) -> float | None:
        """Median per call; None if it was not timed."""
        ...


RowT = TypeVar("RowT", bound=Timed)


def fastest(rows: Iterable[RowT], family: str) -> RowT | None:
    """The fastest contender that was timed and whose name begins with ``family``; None without one."""
    timed = [(row.seconds, k, row) for k, row in enumerate(rows) if row.contender.startswith(family)]
    return min((entry for entry in timed if entry[0] is not None), default=(None, 0, None))[2]


def ratio(peer: Timed | None, ours: Timed | None) -> float | None:
    """How many times longer ``peer`` takes than ``ours``; None where one of them has no time."""
    if peer is None or ours is None or not peer.seconds or not ours.seconds:
        return None
    return peer.seconds / ours.seconds
