"""Contenders checked, weighed and timed, whoever they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch

from capsroute.bench import contenders
from capsroute.bench.contenders import Row, checked, distance, fastest, ratio, timed, wrong


@dataclass(frozen=True)
class Checked(Row):
    error: float | None = None


def check(row: Checked, work: contenders.Work) -> Checked:
    error = float(work()[0])
    return replace(row, error=error, problem=wrong(error, 0.5, "the truth"))


def fails() -> list[torch.Tensor]:
    raise RuntimeError("\nno compiler\nmore lines")


WORKS = {
    "capsroute": lambda: [torch.tensor(0.25)],
    "eager far": lambda: [torch.tensor(0.75)],
    "eager lost": lambda: [torch.tensor(math.nan)],
    "compile broken": fails,
    "compile good": lambda: [torch.tensor(0.5)],
}


def test_only_what_is_right_is_weighed_and_timed() -> None:
    told: list[str] = []
    begun = [Checked(contender=name) for name in WORKS]
    begun.append(Checked(contender="eager large", problem="needs too much"))
    rows = checked(begun, WORKS, check, told.append)
    found = timed(rows, WORKS, 2, told.append)
    assert {row.contender: row.problem for row in found} == {
        "capsroute": None,
        "eager far": "wrong result: differs from the truth by 7.5e-01",
        "eager lost": "wrong result: differs from the truth by nan",
        "compile broken": "failed: RuntimeError: no compiler",
        "compile good": None,
        "eager large": "needs too much",
    }
    for row in found:
        done = row.problem is None
        assert (row.rounds, row.seconds is not None, row.extra_bytes is not None) == (2 * done, done, done), row
        assert not done or 0 < row.lower_seconds <= row.seconds <= row.upper_seconds
    assert (found[0].error, found[1].error) == (0.25, 0.75)
    words = ["checking capsroute", "checking eager far", "checking eager lost", "compiling compile broken"]
    assert told == [*words, "compiling compile good", "timing 2 contenders, 2 rounds"]


def test_an_error_of_the_package_ends_the_run() -> None:
    with pytest.raises(RuntimeError, match="no compiler"):
        checked([Checked(contender="capsroute")], {"capsroute": fails}, check, print)
    assert contenders.first_line(ValueError()) == "no message"


def test_ratios_are_to_the_fastest_that_was_timed() -> None:
    rows = [
        Row(contender="capsroute", seconds=2.0),
        Row(contender="eager a", seconds=8.0),
        Row(contender="eager b", seconds=6.0),
        Row(contender="compile a", problem="failed"),
    ]
    assert fastest(rows, "eager") is rows[2]
    assert ratio(fastest(rows, "eager"), rows[0]) == 3.0
    assert fastest(rows, "compile") is None
    assert ratio(None, rows[0]) is ratio(rows[3], rows[0]) is None
    assert contenders.is_sound(rows)
    assert not contenders.is_sound([Row(contender="capsroute", problem="wrong")])


def test_the_distance_is_the_largest_and_keeps_a_nan() -> None:
    expected = [torch.tensor([3.0, 4.0]), torch.zeros(2), torch.tensor([[1.0]])]
    assert distance([torch.tensor([3.0, 5.0]), torch.zeros(2), torch.tensor([1.0])], expected) == pytest.approx(0.2)
    assert math.isnan(distance([torch.tensor([3.0, math.nan]), torch.zeros(2), torch.tensor([9.0])], expected))
