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
    signs = stats.permutation_test((found,), np.mean, permutation_type="samples", n_resamples=np.inf)
    return _comparison(found.mean(), found.std(ddof=1) / len(found) ** 0.5, len(found) - 1, signs.pvalue, margin)


def independent(first: Sequence[float], second: Sequence[float], margin: float) -> Comparison:
    """Compare runs that share nothing, by Welch's test; the permutations deal the runs out to the two sets anew."""
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    dealt = stats.permutation_test((a, b), lambda x, y: x.mean() - y.mean(), n_resamples=np.inf)
    squares = np.array([of.var(ddof=1) / len(of) for of in (a, b)])
    spread = (squares**2 / (len(a) - 1, len(b) - 1)).sum()
    freedom = squares.sum() ** 2 / spread if spread else np.inf
    return _comparison(a.mean() - b.mean(), squares.sum() ** 0.5, freedom, dealt.pvalue, margin)


def _comparison(difference: float, error: float, freedom: float, difference_p: float, margin: float) -> Comparison:
    """By the t-distribution: a difference with this standard error, of so many degrees of freedom."""
    if error == 0:  # every run says the same: no test can be made of that, and none is needed
        low, high, equivalence_p, visible = difference, difference, float(abs(difference) >= margin), 0.0
    else:
        beyond = stats.t.sf((margin + np.array([difference, -difference])) / error, freedom)
        within = error * stats.t.ppf(1 - LEVEL, freedom)
        low, high, equivalence_p = difference - within, difference + within, beyond.max()
        visible = error * _detectable(freedom)
    return Comparison(*map(float, (difference, low, high, margin, equivalence_p, difference_p, visible)))


def _detectable(freedom: float, power: float = 0.8) -> float:
    """In standard errors of the difference: what a two-sided t-test finds with this probability."""
    limit = stats.t.ppf(1 - LEVEL / 2, freedom)

    def missing(effect: float) -> float:  # the chance of a difference of the wrong sign is nothing
        return float(stats.nct.sf(limit, freedom, effect) - power)

    return float(optimize.brentq(missing, 0.0, 12.0))
