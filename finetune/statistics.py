"""Intervals: of metric values over rows, of means over seeds, and of both.

Owns how resampled values and seeds become an interval, and when there is none. What a resample draws is `resampling`; whether two
runs differ is `paired_tests`.
"""

import math
import statistics as standard_statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from finetune import metrics
from finetune.answers import Answers, AnyAnswers, LanguageAnswers, MultilabelAnswers
from finetune.enough_rows import too_few_rows
from finetune.errors import FinetuneError, InvalidResultError
from finetune.resampling import WORKING_BYTES, Resampling, bootstrap_values, choose_resampling
from finetune.weighted_language import OF_PAIRS
from finetune.weighted_values import Values

UNDEFINED_LIMIT: Final = 0.05
"""A bootstrap interval is given only if at most this share of the resamples has no value. More would cut off as much as
the 5 % that lie outside a 95 % interval."""

DEPEND_ON_ROWS: Final = frozenset({"accuracy", "precision", "subset_accuracy", "hamming_loss"})
"""Metrics of labels that other rows would change although a model says the same of all."""

# Sums in another order differ in their last digits.
_ROUNDING: Final = 1e-12


@dataclass(frozen=True)
class Interval:
    """A confidence interval, or None for both ends with the reason why there is none.

    `undefined_share` is the share of the bootstrap resamples in which the metric had no value; they are left out.
    """

    low: float | None
    high: float | None
    undefined_share: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class SeedSummary:
    """The values of one metric over `n` seeds.

    `standard_deviation` has n - 1 in its denominator; `low` and `high` are the t-interval of the mean. All three are
    None for one value.
    """

    mean: float
    standard_deviation: float | None
    low: float | None
    high: float | None
    minimum: float
    maximum: float
    n: int


def bootstrap_intervals(
    names: Sequence[str],
    answers: AnyAnswers,
    *,
    resampling: Resampling | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    working_bytes: int = WORKING_BYTES,
) -> dict[str, Interval]:
    """Return the percentile bootstrap interval over rows of each metric, `choose_resampling` deciding where None is given.

    Each resample draws as many rows as there are, with replacement (Efron and Tibshirani 1993, "An introduction to the
    bootstrap", chapter 13). The interval covers the choice of evaluation rows, not the choice of training seed.
    The calibration error is an upward-biased estimate, and resampling adds that bias again: its interval lies high. So does that of the
    area under the precision-recall curve of labels with few rows, the more so the more labels it is a mean of.
    Resamples of rows that are all right, or all wrong, show no variance: a proportion of them has Wilson's interval, other metrics none.

    Raises:
        RecipeError: no metric has this name.
        FinetuneError: `resamples` is below 1 or `confidence` is not between 0 and 1.
    """
    _check_confidence(confidence)
    if resamples < 1:
        raise FinetuneError(f"the bootstrap needs at least one resample, got {resamples}")
    how = resampling or choose_resampling(answers.strata)
    reasons = {name: metrics.score(name, answers).reason or too_few_rows(name, answers, how) for name in names}
    defined = [name for name, reason in reasons.items() if not reason]
    intervals = {name: Interval(None, None, 1.0, reason) for name, reason in reasons.items()}
    if defined:
        drawn = bootstrap_values(defined, [answers], how, resamples, seed=seed, working_bytes=working_bytes)
        for name, (values,) in drawn.items():
            interval = percentile_interval(values, confidence)
            if interval.low is not None and interval.high is not None and interval.high - interval.low <= _ROUNDING:
                interval = _interval_without_spread(interval, name, answers, how, confidence)
            intervals[name] = interval
    return intervals


def _interval_without_spread(
    drawn: Interval, name: str, answers: AnyAnswers, resampling: Resampling, confidence: float
) -> Interval:
    """Return the interval of a metric that no resample changes: Wilson's (1927) of a proportion of 0 or 1, where rows are independent.

    It is the one drawn where the metric can't change, since the model says the same of every row.
    """
    if isinstance(answers, LanguageAnswers) and answers.next_sentence is not None and name in OF_PAIRS:
        return _interval_without_spread(drawn, OF_PAIRS[name], answers.next_sentence, resampling, confidence)
    if name not in DEPEND_ON_ROWS and _says_one_thing(name, answers):
        return drawn
    trials = _count_trials(name, answers)
    value = metrics.score(name, answers).value
    if trials is None or value not in (0, 1) or resampling.group_of_row is not None:
        reason = "every resample has the same value, so they can't show how far it varies"
        return Interval(None, None, drawn.undefined_share, reason)
    from scipy.special import ndtri

    margin = float(ndtri((1 + confidence) / 2)) ** 2 / trials
    low, high = (1 / (1 + margin), 1.0) if value else (0.0, margin / (1 + margin))
    return Interval(low, high, drawn.undefined_share)


def _says_one_thing(name: str, answers: AnyAnswers) -> bool:
    """Say whether what a metric depends on is the same of every row."""
    if not isinstance(answers, Answers | MultilabelAnswers):
        return False
    said = answers.predicted if metrics.get_metric(name).needs == "labels" else answers.probabilities
    return bool(np.all(said == said[0]))


def _count_trials(name: str, answers: AnyAnswers) -> int | None:
    """Return of how many rows a metric is the share that is right, or None where it is no such share."""
    if name in ("accuracy", "subset_accuracy"):
        return len(answers)
    if isinstance(answers, Answers) and name in ("precision", "recall"):
        return int(np.count_nonzero(answers.predicted if name == "precision" else answers.expected))
    return None


def percentile_interval(values: Values, confidence: float = 0.95) -> Interval:
    """Return the interval between two quantiles of resampled values (resamples,), of which NaN are undefined."""
    defined = values[~np.isnan(values)]
    undefined_share = (len(values) - len(defined)) / len(values)
    if undefined_share > UNDEFINED_LIMIT:
        reason = f"undefined in {undefined_share:.1%} of the resamples, allowed are {UNDEFINED_LIMIT:.0%}"
        return Interval(None, None, undefined_share, reason)
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high), undefined_share)


def interval_of_mean(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the Student t interval of the mean of `values`, without ends for fewer than two values.

    Raises:
        InvalidResultError: a value is not finite.
        FinetuneError: `confidence` is not between 0 and 1.
    """
    _check_confidence(confidence)
    numbers = _finite(values)
    if len(numbers) < 2:
        return Interval(None, None, reason="fewer than two values")
    # The quantile function of scipy.stats.t, without the slow import of scipy.stats.
    from scipy.special import stdtrit

    quantile = float(stdtrit(len(numbers) - 1, (1 + confidence) / 2))
    mean = standard_statistics.mean(numbers)
    half = quantile * standard_statistics.stdev(numbers) / math.sqrt(len(numbers))
    return Interval(mean - half, mean + half)


@dataclass(frozen=True)
class Variance:
    """One source of variance of an estimate, and how well it is known."""

    value: float
    degrees_of_freedom: float


def variance_of_mean(values: Sequence[float]) -> Variance:
    """Return the variance of the mean of at least two seeds' values."""
    numbers = _finite(values)
    return Variance(standard_statistics.variance(numbers) / len(numbers), len(numbers) - 1)


def variance_over_rows(resampled: Values, units: int, other: Values | None = None) -> Variance:
    """Return the variance of a mean over seeds that other rows would give all of its seeds alike.

    Takes a metric of each seed on the same resamples (seeds, resamples) of `units` rows or groups, or of one (resamples,). With
    `other` (seeds, resamples) it is that of the difference of two means.

    What rows do to one seed alone, by the rows that this seed happens to miss, is part of the variance over seeds already, so this
    is the mean covariance between different seeds; of a single seed it is its variance. These are the variance components of
    crossed random effects (Owen 2007, "The pigeonhole bootstrap").
    """
    sides = [np.atleast_2d(values) for values in (resampled, other) if values is not None]
    seeds, drawn = len(sides[0]), np.concatenate(sides)
    covariances = np.atleast_2d(np.cov(drawn[:, ~np.isnan(drawn).any(axis=0)]))
    value = _between_seeds(covariances[:seeds, :seeds])
    if other is not None:
        value += _between_seeds(covariances[seeds:, seeds:]) - 2 * float(covariances[:seeds, seeds:].mean())
    return Variance(max(0.0, value), max(1, units - 1))


def _between_seeds(covariances: Values) -> float:
    """Return the mean of what stands beside the diagonal (seeds, seeds); of one seed its variance."""
    seeds = len(covariances)
    if seeds == 1:
        return float(covariances[0, 0])
    return float(covariances.sum() - np.trace(covariances)) / (seeds * (seeds - 1))


def standard_error_and_quantile(sources: Sequence[Variance], confidence: float = 0.95) -> tuple[float, float]:
    """Return the standard error of an estimate with independent sources of variance, and the Student t quantile for it."""
    from scipy.special import stdtrit

    total = sum(source.value for source in sources)
    if total == 0:
        return 0.0, 0.0
    return math.sqrt(total), float(stdtrit(degrees_of_freedom(sources), (1 + confidence) / 2))


def degrees_of_freedom(sources: Sequence[Variance]) -> float:
    """Return the degrees of freedom of a sum of variances, of which one at least is above 0.

    They are those of Satterthwaite (1946), "An approximate distribution of estimates of variance components", with a variance of f
    degrees of freedom taken (f + 2) / f times as large. That factor is our own, chosen by simulation (tests/test_simulations.py): where
    few seeds happen to lie close together, the formula also believes that they hardly count, and a 95 % interval covers down to 92 %
    with three seeds. With the factor it covers 94 to 96 % with three or more, and 91 to 96 % with two.
    """
    wary = [(source.value * (1 + 2 / source.degrees_of_freedom), source.degrees_of_freedom) for source in sources]
    return sum(value for value, _ in wary) ** 2 / sum(value**2 / freedom for value, freedom in wary)


def interval_over_seeds_and_rows(values: Sequence[float], rows: Variance, confidence: float = 0.95) -> Interval:
    """Return the interval of the mean over seeds in which both other seeds and other rows would fall.

    Takes a value for each seed, all on the same rows, and what `variance_over_rows` gives of them. The two sources are added: seeds
    say how far another training would land, rows how far another test would (Bouthillier et al. 2021, "Accounting for variance").

    Raises:
        InvalidResultError: a value is not finite.
        FinetuneError: `confidence` is not between 0 and 1.
    """
    _check_confidence(confidence)
    if len(values) < 2:
        return Interval(None, None, reason="fewer than two values")
    mean = standard_statistics.mean(_finite(values))
    error, quantile = standard_error_and_quantile([variance_of_mean(values), rows], confidence)
    return Interval(mean - quantile * error, mean + quantile * error)


def summary(values: Sequence[float], confidence: float = 0.95) -> SeedSummary:
    """Return mean, spread, extremes and the t-interval of the mean of one value per seed.

    Raises:
        InvalidResultError: a value is not finite.
        FinetuneError: there is no value, or `confidence` is not between 0 and 1.
    """
    numbers = _finite(values)
    if not numbers:
        raise FinetuneError("a summary over seeds needs at least one value")
    interval = interval_of_mean(numbers, confidence)
    deviation = standard_statistics.stdev(numbers) if len(numbers) > 1 else None
    mean = standard_statistics.mean(numbers)
    return SeedSummary(mean, deviation, interval.low, interval.high, min(numbers), max(numbers), len(numbers))


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise FinetuneError(f"confidence must lie between 0 and 1, got {confidence}")


def _finite(values: Sequence[float]) -> list[float]:
    if not np.isfinite(values).all():
        raise InvalidResultError(f"a value over seeds is not finite: {list(values)}")
    return [float(value) for value in values]
