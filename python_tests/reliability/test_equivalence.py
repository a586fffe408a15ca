"""The tests of equality, on samples of which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from . import equivalence
from .equivalence import LEVEL, independent, paired


def _shares(compare: object, difference: float, margin: float, rounds: int = 150) -> float:
    """How often two sets of five with this true difference, and a standard deviation of 1, count as equivalent."""
    random = np.random.default_rng(0)
    draws = random.normal(size=(rounds, 2, 5))
    return float(np.mean([compare(a + difference, b, margin).equivalent for a, b in draws]))  # type: ignore[operator]


@pytest.mark.parametrize("compare", [paired, independent])
def test_sets_that_differ_by_the_margin_pass_rarely(monkeypatch: pytest.MonkeyPatch, compare: object) -> None:
    for module, name in ((stats, "permutation_test"), (equivalence, "_detectable")):  # slow, and not looked at here
        monkeypatch.setattr(module, name, _NotAsked)
    assert _shares(compare, 4.0, 4.0) <= LEVEL + 3 * (LEVEL / 150) ** 0.5
    assert _shares(compare, 0.0, 4.0) > 0.9


class _NotAsked(float):
    """Stands in for a number, and for a result that has a p-value."""

    pvalue = 1.0

    def __new__(cls, *_: object, **__: object) -> _NotAsked:
        return super().__new__(cls, 1.0)


def test_known_values() -> None:
    """Of SciPy's own tests, and by hand: 5 differences of one sign have 2 of 32 ways."""
    first, second = [2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 1.5, 3.5, 4.0, 3.0]
    found = paired(first, second, margin=5.0)
    assert found.difference == pytest.approx(1.4)
    assert found.difference_p == pytest.approx(2 / 32)
    interval = stats.ttest_rel(first, second).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.equivalent
    assert not paired(first, second, margin=1.4).equivalent


def test_separate_sets_have_two_of_252_ways() -> None:
    found = independent([1, 2, 3, 4, 5], [11, 12, 13, 14, 15], margin=1.0)
    assert found.difference_p == pytest.approx(2 / 252)
    assert not found.equivalent
    assert found.difference == -10


def test_the_visible_difference_is_found_in_four_of_five_cases() -> None:
    """By simulation: differences with a standard deviation of 1, and a mean that a t-test should see."""
    random = np.random.default_rng(1)
    base = np.array([-1.2, -0.4, 0.1, 0.5, 1.0])
    visible = paired(base, np.zeros(5), 1.0).visible / base.std(ddof=1)  # of a spread of 1
    draws = random.normal(size=(4000, 5)) + visible
    found = np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < LEVEL)
    assert found == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("compare", [paired, independent])
def test_runs_that_are_all_the_same(compare: object) -> None:
    same = compare([1.0] * 5, [1.0] * 5, 0.1)  # type: ignore[operator]
    assert same.equivalent
    assert same.difference_p == 1
    apart = compare([2.0] * 5, [1.0] * 5, 0.1)  # type: ignore[operator]
    assert not apart.equivalent
