"""The timing function, with a clock that does not depend on the machine."""

from __future__ import annotations

import time

import pytest

from capsroute.bench.timing import Timing, interleaved, wall_clock


class FakeClock:
    """Every call of a piece of work takes what the work says, and is written down."""

    def __init__(self) -> None:
        self.order: list[tuple[str, int]] = []

    def __call__(self, work: object, repeats: int) -> float:
        name, seconds = work()  # type: ignore[operator]
        self.order.append((name, repeats))
        return seconds * repeats


def test_contenders_take_turns() -> None:
    clock = FakeClock()
    work = {"a": lambda: ("a", 1.0), "b": lambda: ("b", 2.0)}
    times = interleaved(work, rounds=3, warmup=2, clock=clock)
    assert [name for name, _ in clock.order] == ["a", "a", "b", "b", *["a", "b"] * 3]
    assert times == {"a": Timing(1.0, 1.0, 1.0, 1.0, 3, 1), "b": Timing(2.0, 2.0, 2.0, 2.0, 3, 1)}


def test_short_work_is_repeated_to_fill_its_turn() -> None:
    clock = FakeClock()
    times = interleaved({"a": lambda: ("a", 1e-3)}, rounds=2, warmup=1, round_seconds=0.02, clock=clock)
    assert clock.order == [("a", 1), ("a", 20), ("a", 20)]
    assert times["a"].median == pytest.approx(1e-3)


def test_median_and_quartiles() -> None:
    values = iter([9.0, 5.0, 1.0, 2.0, 3.0, 4.0])  # the first is the warm-up
    times = interleaved({"a": lambda: ("a", next(values))}, rounds=5, warmup=1, clock=FakeClock())
    assert times["a"] == Timing(median=3.0, lower=2.0, upper=4.0, fastest=1.0, rounds=5, repeats=1)


def test_one_round() -> None:
    assert interleaved({"a": lambda: ("a", 2.0)}, rounds=1, warmup=1, clock=FakeClock())["a"].upper == 2.0


def test_the_clock_of_the_cpu() -> None:
    assert 0.02 <= wall_clock(lambda: time.sleep(0.01), 2) < 2


@pytest.mark.parametrize(("rounds", "warmup"), [(0, 1), (1, 0)])
def test_bad_numbers(rounds: int, warmup: int) -> None:
    with pytest.raises(ValueError, match=f"rounds={rounds}, warmup={warmup}"):
        interleaved({}, rounds=rounds, warmup=warmup)
