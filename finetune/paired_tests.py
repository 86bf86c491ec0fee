"""Whether two runs differ on the same rows, or is it noise: p-values, corrections, and what these rows could show at all.

Owns what is concluded from resampled differences and from counts. Drawing is `resampling`, intervals are `statistics`, which runs
are compared and in what words is `compare`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from finetune.statistics import Variance, degrees_of_freedom, standard_error_and_quantile, variance_of_mean
from finetune.weighted_values import Values

LEVEL: Final = 0.05
"""A difference counts where its p-value is below this."""

POWER: Final = 0.8
"""The power for which the smallest detectable difference is stated."""

# Sums in another order differ in their last digits, and ties must count as ties.
_ROUNDING = 1e-12


def resampled_p_value(observed: float, under_the_null: Values) -> float | None:
    """Return the two-sided p-value of a difference among those (resamples,) that the null hypothesis gives.

    The observed one counts as one of them, so that it is never 0 (Phipson and Smyth 2010, "Permutation p-values should never be
    zero"). None where more than half of the resamples have no value, or the observed one is NaN.
    """
    defined = under_the_null[~np.isnan(under_the_null)]
    if 2 * len(defined) < len(under_the_null) or math.isnan(observed):
        return None
    at_least = np.abs(defined) >= abs(observed) - _ROUNDING
    return float((1 + at_least.sum()) / (1 + len(defined)))


def bootstrap_p_value(observed: float, differences: Values) -> float | None:
    """Return the two-sided p-value of a difference from its paired bootstrap (resamples,), shifted to have none.

    Efron and Tibshirani (1993), chapter 16.4; for test sets Berg-Kirkpatrick et al. (2012).
    """
    return resampled_p_value(observed, differences - observed)


@dataclass(frozen=True)
class PairedCounts:
    """How many rows two runs answered rightly or wrongly, and McNemar's (1947) test of equal accuracy."""

    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    p_exact: float
    p_mid: float


def count_pairs(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedCounts:
    """Return the counts and McNemar's test for which rows (rows,) each of two runs answered rightly.

    The exact test is binomial on the rows that one alone has right, and errs on the safe side; the mid-p version counts half of
    the observed outcome and holds its level better (Fagerland, Lydersen and Laake 2013, "The McNemar test for binary matched-pairs
    data: mid-p and asymptotic are better than exact conditional").
    """
    from scipy.special import bdtr

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant, smaller = only_first + only_second, min(only_first, only_second)
    # Twice a tail of a binomial of 1/2; where both counts are equal the tails overlap and all outcomes are as extreme.
    tail = float(bdtr(smaller, discordant, 0.5)) if discordant else 1.0
    observed = float(math.comb(discordant, smaller) / 2**discordant) if discordant else 1.0
    exact = min(1.0, 2 * tail)
    mid = 2 * tail - observed if only_first != only_second else 1.0 - observed / 2
    if not discordant:
        mid = 1.0
    return PairedCounts(int((first & second).sum()), only_first, only_second, int((~first & ~second).sum()), exact, mid)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for their number by Holm's (1979) step-down method; undefined ones stay so and don't count."""
    defined = sorted((value, number) for number, value in enumerate(p_values) if value is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (value, number) in enumerate(defined):
        largest = max(largest, min(1.0, value * (len(defined) - rank)))
        adjusted[number] = largest
    return adjusted


def detectable_difference(standard_error: float) -> float:
    """Return the smallest true difference that a two-sided test at 5 % finds with a power of 80 %.

    It is (z(0.975) + z(0.8)) standard errors of the difference, 2.8 of them (Card et al. 2020, "With little power comes great
    responsibility", take the same power for test sets).
    """
    from scipy.special import ndtri

    return float(ndtri(1 - LEVEL / 2) + ndtri(POWER)) * standard_error


@dataclass(frozen=True)
class SeedDifference:
    """A difference of means over seeds, with seeds and rows as sources of variance."""

    low: float
    high: float
    p_value: float


def compare_seeds(first: Sequence[float], second: Sequence[float], rows: Variance) -> SeedDifference:
    """Return interval and p-value of mean `second` minus mean `first`; a single value is taken to have no variance over seeds.

    `rows` is the variance of that difference over rows. Where rows vary not at all, this is Welch's (1947) t-test.
    """
    from scipy.special import stdtr

    difference = float(np.mean(second) - np.mean(first))
    sources = [variance_over_both_seeds(first, second), rows]
    error, quantile = standard_error_and_quantile(sources)
    if error == 0:
        return SeedDifference(difference, difference, 1.0 if difference == 0 else 0.0)
    p_value = 2 * float(stdtr(degrees_of_freedom(sources), -abs(difference) / error))
    return SeedDifference(difference - quantile * error, difference + quantile * error, p_value)


def variance_over_both_seeds(first: Sequence[float], second: Sequence[float]) -> Variance:
    """Return the variance of a difference of means over the seeds of two runs, with Welch's degrees of freedom; one seed adds none."""
    sources = [variance_of_mean(values) for values in (first, second) if len(values) > 1]
    total = sum(source.value for source in sources)
    if total == 0:
        return Variance(0.0, 1)
    return Variance(total, total**2 / sum(source.value**2 / source.degrees_of_freedom for source in sources))
