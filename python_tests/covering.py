"""A choice of a product of settings in which every two values of every two settings meet."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from .lanes import EVERYTHING

Row = dict[str, Any]
Pair = tuple[tuple[str, int], tuple[str, int]]


def pairs(row: Mapping[str, int]) -> set[Pair]:
    """Every pair of settings that a row shows together; values by their numbers."""
    return set(itertools.combinations(sorted(row.items()), 2))


def covering_rows(factors: Mapping[str, Sequence[Any]]) -> list[Row]:
    """Rows in which every two values of every two settings meet at least once.

    Built greedily: each row starts from a pair not yet seen and takes, setting by setting, the value that adds most
    unseen pairs.
    """
    if len(factors) < 2:
        return [{name: value} for name, values in factors.items() for value in values]
    numbers = {name: range(len(values)) for name, values in factors.items()}
    unseen: set[Pair] = set()
    for a, b in itertools.combinations(numbers, 2):
        for n, m in itertools.product(numbers[a], numbers[b]):
            unseen |= pairs({a: n, b: m})
    rows = []
    while unseen:
        row = dict(min(unseen))
        for name in numbers:
            if name not in row:
                row[name] = max(numbers[name], key=lambda n: len(pairs({**row, name: n}) & unseen))
        unseen -= pairs(row)
        rows.append({name: values[row[name]] for name, values in factors.items()})
    return rows


def covering(**factors: Sequence[Any]) -> pytest.MarkDecorator:
    """``pytest.mark.parametrize`` with covering rows for each change, and with the whole product in the night."""
    names = list(factors)
    if EVERYTHING:
        chosen = list(itertools.product(*factors.values()))
    else:
        chosen = [tuple(row[name] for name in names) for row in covering_rows(factors)]
    return pytest.mark.parametrize(names, chosen, ids=lambda value: str(value))
