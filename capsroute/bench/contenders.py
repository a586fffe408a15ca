"""Contenders beside each other: each is checked and weighed, then all that are right are timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from . import memory, timing

OURS = "capsroute"

Work = Callable[[], list[Tensor]]


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


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contender.

    Attributes:
        contender: ``"capsroute"`` or a peer, whose name begins with its family.
        seconds: Median per call; None if it was not timed, for which ``problem`` has the reason.
        lower_seconds: Lower quartile.
        upper_seconds: Upper quartile.
        rounds: Rounds that were timed.
        extra_bytes: See :func:`.memory.extra_bytes`.
        problem: Why there are no figures, or None.
    """

    contender: str
    seconds: float | None = None
    lower_seconds: float | None = None
    upper_seconds: float | None = None
    rounds: int = 0
    extra_bytes: int | None = None
    problem: str | None = None


TimedT = TypeVar("TimedT", bound=Timed)
RowT = TypeVar("RowT", bound=Row)


def fastest(rows: Iterable[TimedT], family: str) -> TimedT | None:
    """The fastest contender that was timed and whose name begins with ``family``; None without one."""
    timed = [(row.seconds, k, row) for k, row in enumerate(rows) if row.contender.startswith(family)]
    return min((entry for entry in timed if entry[0] is not None), default=(None, 0, None))[2]


def ratio(peer: Timed | None, ours: Timed | None) -> float | None:
    """How many times longer ``peer`` takes than ``ours``; None where one of them has no time."""
    if peer is None or ours is None or not peer.seconds or not ours.seconds:
        return None
    return peer.seconds / ours.seconds


def is_sound(rows: Iterable[Row]) -> bool:
    """Whether the package itself had no problem."""
    return not any(row.contender == OURS and row.problem for row in rows)


def checked(
    begun: Iterable[RowT],
    works: Mapping[str, Work],
    check: Callable[[RowT, Work], RowT],
    tell: Callable[[str], None],
    trusted: Collection[str] = (OURS,),
) -> dict[str, RowT]:
    """Hold contenders to what is right, and weigh those that are.

    Args:
        begun: A row of each; one that has a problem already is left as it is.
        works: What is measured of each, by contender.
        check: From a row and its work to the row with what was found, a problem where the result is wrong.
        tell: Called with a few words on what is being done.
        trusted: Contenders whose errors end the run. Those of a peer, most of all of its compiler, are its problem.

    Returns:
        The rows by contender.
    """
    rows = {row.contender: row for row in begun}
    for name in [name for name, row in rows.items() if row.problem is None]:
        tell(f"compiling {name}" if name.startswith("compile") else f"checking {name}")
        try:
            rows[name] = check(rows[name], works[name])
            if rows[name].problem is None:
                rows[name] = replace(rows[name], extra_bytes=memory.extra_bytes(works[name]))
        except Exception as error:
            if name in trusted:
                raise
            rows[name] = replace(rows[name], problem=failure(error))
    return rows


def timed(
    rows: Mapping[str, RowT], works: Mapping[str, Work], rounds: int, tell: Callable[[str], None], warmup: int = 1
) -> list[RowT]:
    """Time the contenders without a problem in turns; one call before the first round, as each has run already."""
    sound = {name: works[name] for name, row in rows.items() if row.problem is None}
    tell(f"timing {len(sound)} contenders, {rounds} rounds")
    times = timing.interleaved(sound, rounds=rounds, warmup=warmup)
    return [with_times(row, times.get(name)) for name, row in rows.items()]


def with_times(row: RowT, times: timing.Timing | None) -> RowT:
    """The row of a contender with its times, if it was timed."""
    if times is None:
        return row
    return replace(row, seconds=times.median, lower_seconds=times.lower, upper_seconds=times.upper, rounds=times.rounds)


def wrong(distance: float, allowed: float, expected: str, what: str = "result") -> str | None:
    """The problem of a result that is too far from what is expected, or that is NaN; None if it is near enough."""
    return None if distance <= allowed else f"wrong {what}: differs from {expected} by {distance:.1e}"


def distance(results: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest distance of a tensor from the one expected, in parts of the norm of that one; NaN if any is."""
    pairs = zip(results, expected, strict=True)
    parts = [(a.flatten() - e.flatten()).norm() / e.norm().clamp_min(1e-30) for a, e in pairs]
    return float(torch.stack(parts).max())  # Python's max may drop a NaN


def failure(error: BaseException) -> str:
    """The problem of a contender that raises an error."""
    return f"failed: {type(error).__name__}: {first_line(error)}"


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else "no message"
