"""The one timing function: medians over rounds in which all contenders take turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Work = Callable[[], object]

ROUNDS = 15
WARMUP = 3
ROUND_SECONDS = 0.02


Clock = Callable[[Work, int], float]  # seconds that so many calls of the work take together


def wall_clock(work: Work, repeats: int) -> float:
    """The clock of work on the CPU, which is done when the call returns."""
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Timing:
    """Seconds per call over the rounds: median, quartiles, and the fastest round."""

    median: float
    lower: float
    upper: float
    fastest: float
    rounds: int
    repeats: int


def repeats_to_fill(
    work: Work, round_seconds: float = ROUND_SECONDS, warmup: int = WARMUP, clock: Clock = wall_clock
) -> int:
    """Warm ``work`` up, and say how many calls of it last about ``round_seconds``, going by the last call."""
    last = [clock(work, 1) for _ in range(warmup)][-1]
    return max(1, round(round_seconds / max(last, 1e-7)))


def interleaved(
    contenders: Mapping[str, Work],
    *,
    rounds: int = ROUNDS,
    warmup: int = WARMUP,
    round_seconds: float = ROUND_SECONDS,
    clock: Clock = wall_clock,
) -> dict[str, Timing]:
    """Time several pieces of work side by side.

    Every round calls each contender in turn, so that a change of the machine's speed meets all alike; a contender
    much shorter than ``round_seconds`` is repeated within its turn to fill it.

    Args:
        contenders: Work by name.
        rounds: Rounds that count, at least 1.
        warmup: Calls of each contender before the first round, at least 1; the last of them decides the repeats.
        round_seconds: Least duration of one turn, in seconds.
        clock: What measures; that of the CPU by default.

    Returns:
        Seconds per call of each contender.

    Raises:
        ValueError: ``rounds`` or ``warmup`` below 1.
    """
    if rounds < 1 or warmup < 1:
        raise ValueError(f"rounds and warmup must be at least 1, got rounds={rounds}, warmup={warmup}")
    repeats = {name: repeats_to_fill(work, round_seconds, warmup, clock) for name, work in contenders.items()}
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            samples[name].append(clock(work, repeats[name]) / repeats[name])
    return {name: summary(values, repeats[name]) for name, values in samples.items()}


def summary(values: Sequence[float], repeats: int) -> Timing:
    """What the seconds per call of all rounds come to."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * [values[0]]
    lower, median, upper = quartiles
    return Timing(median, lower, upper, min(values), len(values), repeats)
