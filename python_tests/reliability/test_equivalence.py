"""The tests of equality, on samples of which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from . import equivalence
from .equivalence import LEVEL, independent, paired

COMPARISONS = pytest.mark.parametrize("compare", [paired, independent])


@COMPARISONS
def test_sets_that_differ_by_the_margin_pass_rarely(monkeypatch: pytest.MonkeyPatch, compare) -> None:
    """Sets of five with a standard deviation of 1."""
    for module, name in ((stats, "permutation_test"), (equivalence, "_detectable")):  # slow, and not looked at here
        monkeypatch.setattr(module, name, _NotAsked)
    draws = np.random.default_rng(0).normal(size=(150, 2, 5))
    apart, same = (np.mean([compare(a + shift, b, 4.0).equivalent for a, b in draws]) for shift in (4.0, 0.0))
    assert apart <= LEVEL + 3 * (LEVEL / len(draws)) ** 0.5
    assert same > 0.9


class _NotAsked(float):
    """Stands in for a number, and for a result that has a p-value."""

    pvalue = 1.0

    def __new__(cls, *_: object, **__: object) -> _NotAsked:
        return super().__new__(cls, 1.0)


def test_known_values() -> None:
    """Of SciPy's own tests, and by hand: 5 differences of one sign have 2 of 32 ways, two sets of five 2 of 252."""
    near, far, second = [2.0, 3.0, 4.0, 5.0, 6.0], [11.0, 12.0, 13.0, 14.0, 15.0], [1.0, 1.5, 3.5, 4.0, 3.0]
    for found, test, difference, ways in (
        (paired(near, second, margin=5.0), stats.ttest_rel(near, second), 1.4, 32),
        (independent(far, second, margin=15.0), stats.ttest_ind(far, second, equal_var=False), 10.4, 252),
    ):
        interval = test.confidence_interval(0.9)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert found.difference == pytest.approx(difference)
        assert found.difference_p == pytest.approx(2 / ways)
        assert found.equivalent
    assert not paired(near, second, margin=1.4).equivalent
    assert not independent(far, second, margin=10.4).equivalent


def test_the_visible_difference_is_found_in_four_of_five_cases() -> None:
    """By simulation: differences with a standard deviation of 1, and a mean that a t-test should see."""
    random = np.random.default_rng(1)
    base = np.array([-1.2, -0.4, 0.1, 0.5, 1.0])
    visible = paired(base, np.zeros(5), 1.0).visible / base.std(ddof=1)  # of a spread of 1
    draws = random.normal(size=(4000, 5)) + visible
    found = np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < LEVEL)
    assert found == pytest.approx(0.8, abs=0.02)


@COMPARISONS
def test_runs_that_are_all_the_same(compare) -> None:
    same = compare([1.0] * 5, [1.0] * 5, 0.1)
    assert same.equivalent
    assert same.difference_p == 1
    assert not compare([2.0] * 5, [1.0] * 5, 0.1).equivalent
