"""How sure it is that two ways to train give the same: equivalence tests and what they could have missed, by SciPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Of one outcome, in two sets of runs.

    Attributes:
        difference: Mean of the first less mean of the second.
        low: The 90 % confidence interval of the difference; equivalence at the 5 % level is that it lies within
            ± margin.
        high: Its other end.
        margin: Differences below it count as none.
        equivalence_p: Of two one-sided t-tests (TOST); small where the difference is within ± margin for sure.
        difference_p: Exact, by all permutations; small where there is a difference for sure.
        visible: The smallest true difference that a t-test at the 5 % level finds in four of five cases.
    """

    difference: float
    low: float
    high: float
    margin: float
    equivalence_p: float
    difference_p: float
    visible: float

    @property
    def equivalent(self) -> bool:
        """Whether the difference is within the margin, at the 5 % level."""
        return self.equivalence_p < LEVEL


def paired(first: Sequence[float], second: Sequence[float], margin: float) -> Comparison:
    """Compare runs that share a seed two by two; the permutations change the signs of the differences."""
    found = np.subtract(first, second)
    spread = found.std(ddof=1)
    if spread == 0:  # no t-test can be made of that, and none is needed
        return _certain(float(found.mean()), margin)
    above = stats.ttest_1samp(found, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(found, margin, alternative="less").pvalue
    interval = stats.ttest_1samp(found, 0).confidence_interval(1 - 2 * LEVEL)
    signs = stats.permutation_test((found,), np.mean, permutation_type="samples", n_resamples=np.inf)
    error = spread / len(found) ** 0.5
    return Comparison(
        float(found.mean()),
        float(interval.low),
        float(interval.high),
        margin,
        float(max(above, below)),
        float(signs.pvalue),
        error * _detectable(len(found) - 1),
    )


def independent(first: Sequence[float], second: Sequence[float], margin: float) -> Comparison:
    """Compare runs that share nothing, by Welch's test; the permutations deal the runs out to the two sets anew."""
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    error = (a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)) ** 0.5
    difference = float(a.mean() - b.mean())
    if error == 0:
        return _certain(difference, margin)
    above = stats.ttest_ind(a + margin, b, equal_var=False, alternative="greater").pvalue
    below = stats.ttest_ind(a - margin, b, equal_var=False, alternative="less").pvalue
    both = stats.ttest_ind(a, b, equal_var=False)
    interval = both.confidence_interval(1 - 2 * LEVEL)
    dealt = stats.permutation_test((a, b), lambda x, y: x.mean() - y.mean(), n_resamples=np.inf)
    return Comparison(
        difference,
        float(interval.low),
        float(interval.high),
        margin,
        float(max(above, below)),
        float(dealt.pvalue),
        error * _detectable(float(both.df)),
    )


def _certain(difference: float, margin: float) -> Comparison:
    """Where every run says the same."""
    equivalence = 0.0 if abs(difference) < margin else 1.0
    return Comparison(difference, difference, difference, margin, equivalence, float(difference == 0), 0.0)


def _detectable(freedom: float, power: float = 0.8) -> float:
    """In standard errors of the difference: what a two-sided t-test finds with this probability."""
    limit = stats.t.ppf(1 - LEVEL / 2, freedom)

    def missing(effect: float) -> float:  # the chance of a difference of the wrong sign is nothing
        return float(stats.nct.sf(limit, freedom, effect) - power)

    return float(optimize.brentq(missing, 0.0, 12.0))
