"""Every two values of every two settings meet, in few rows."""

from __future__ import annotations

import itertools

import pytest

from .covering import covering_rows
from .routing.cases import FACTORS

SMALL = {"letter": ["a", "b", "c"], "number": [0, 1], "list": [[], [1]], "same": [True, 1.0]}


@pytest.mark.parametrize("factors", [FACTORS, SMALL], ids=["options", "values that are equal or not hashable"])
def test_all_pairs_meet(factors: dict[str, list[object]]) -> None:
    rows = covering_rows(factors)
    for a, b in itertools.combinations(factors, 2):
        for one, two in itertools.product(factors[a], factors[b]):
            assert any(row[a] is one and row[b] is two for row in rows), (a, one, b, two)
    two_longest = sorted(map(len, factors.values()))[-2:]
    assert len(rows) <= 2 * two_longest[0] * two_longest[1]


def test_one_setting_is_a_list() -> None:
    assert covering_rows({"letter": "ab"}) == [{"letter": "a"}, {"letter": "b"}]
