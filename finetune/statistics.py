"""Uncertainty of metric values: bootstrap intervals over the rows of one run and summaries over seeds.

The bootstrap evaluates every metric on the same resamples from whole blocks of row weights, which needs formulas of
its own for weighted rows; for weights of 1 each agrees with `finetune.metrics`, which owns names, definitions and the
rules for undefined cases.
"""

import math
import statistics as standard_statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finetune import metrics
from finetune.errors import FinetuneError, InvalidResultError
from finetune.metrics import Labels, Probabilities

Values = NDArray[np.float64]

WORKING_BYTES: Final = 16 * 2**20
"""Size of one block of row weights and of the confusion counts made from it. Larger blocks are not faster."""

UNDEFINED_LIMIT: Final = 0.05
"""A bootstrap interval is given only if at most this share of the resamples has no value. More would cut off as much as
the 5 % that lie outside a 95 % interval."""


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
    expected: ArrayLike,
    probabilities: ArrayLike,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    working_bytes: int = WORKING_BYTES,
) -> dict[str, Interval]:
    """Return the percentile bootstrap interval over rows of each metric, all from the same resamples.

    Takes `expected` (rows,) and `probabilities` (rows, classes). Each resample draws as many rows as there are, with
    replacement (Efron and Tibshirani 1993, "An introduction to the bootstrap", chapter 13). The interval covers the
    choice of evaluation rows, not the choice of training seed. The draws depend on `seed` and the number of rows only.
    The calibration error is an upward-biased estimate, and resampling adds that bias again: its interval lies high.

    Raises:
        RecipeError: no metric has this name.
        InvalidResultError, DataError, FinetuneError: as `finetune.metrics.check_arrays`.
        FinetuneError: `resamples` is below 1 or `confidence` is not between 0 and 1.
    """
    _check_confidence(confidence)
    if resamples < 1:
        raise FinetuneError(f"the bootstrap needs at least one resample, got {resamples}")
    reasons = {name: metrics.score(name, expected, probabilities).reason for name in names}
    defined = [name for name, reason in reasons.items() if not reason]
    intervals = {name: Interval(None, None, 1.0, reason) for name, reason in reasons.items()}
    if defined:
        drawn = _resampled_values(defined, _Rows(expected, probabilities), resamples, seed, working_bytes)
        intervals |= {name: _percentile_interval(values, confidence) for name, values in drawn.items()}
    return intervals


def weighted_values(
    names: Sequence[str], expected: ArrayLike, probabilities: ArrayLike, weights: ArrayLike
) -> dict[str, Values]:
    """Return each metric (resamples,) with row i counted `weights[resample, i]` times, NaN where it is undefined.

    Takes `expected` (rows,), `probabilities` (rows, classes) and `weights` (resamples, rows), some of them positive in
    each resample. F1, precision and recall are those of class 1.

    Raises:
        RecipeError: no metric has this name.
        InvalidResultError, DataError, FinetuneError: as `finetune.metrics.check_arrays`.
    """
    known = [metrics.get_metric(name).name for name in names]
    return _Rows(expected, probabilities).values(known, np.asarray(weights, dtype=np.float64))


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


def _percentile_interval(values: Values, confidence: float) -> Interval:
    defined = values[~np.isnan(values)]
    undefined_share = (len(values) - len(defined)) / len(values)
    if undefined_share > UNDEFINED_LIMIT:
        reason = f"undefined in {undefined_share:.1%} of the resamples, allowed are {UNDEFINED_LIMIT:.0%}"
        return Interval(None, None, undefined_share, reason)
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high), undefined_share)


def _resampled_values(
    names: Sequence[str], rows: "_Rows", resamples: int, seed: int, working_bytes: int
) -> dict[str, Values]:
    """Return each metric (resamples,) for freshly drawn weights, as many resamples at once as the bytes allow."""
    count = len(rows.expected)
    block_size = max(1, working_bytes // (8 * max(count, rows.classes**2)))
    generator = np.random.default_rng(seed)
    values = {name: np.empty(resamples) for name in names}
    for start in range(0, resamples, block_size):
        weights = np.empty((min(block_size, resamples - start), count))
        for row in weights:
            row[:] = np.bincount(generator.integers(0, count, count), minlength=count)
        for name, block in rows.values(names, weights).items():
            values[name][start : start + len(weights)] = block
    return values


class _Rows:
    """The evaluated rows and what all resamples of them share."""

    def __init__(self, expected: ArrayLike, probabilities: ArrayLike) -> None:
        self.expected, self.probabilities = metrics.check_arrays(expected, probabilities)
        self.classes = self.probabilities.shape[1]

    @cached_property
    def binned_gaps(self) -> Values:
        """Return the calibration gap of each row in the column of its bin (rows, bins)."""
        bins, gaps = metrics.calibration_gaps(self.expected, self.probabilities)
        columns = np.zeros((len(gaps), metrics.CALIBRATION_BINS))
        columns[np.arange(len(gaps)), bins] = gaps
        return columns

    @cached_property
    def rankings(self) -> list[tuple[Labels, ...]]:
        """Return for each class against the rest its rows, the other rows by rising score, and two ranks of its rows.

        The ranks of a row are how many of the other rows have a lower score, and how many do not have a higher one.
        """
        rankings = []
        for label in [1] if self.classes == 2 else range(self.classes):
            scores = self.probabilities[:, label]
            order = np.argsort(scores, kind="stable")
            is_positive = self.expected[order] == label
            positives, negatives = order[is_positive], order[~is_positive]
            lower = np.searchsorted(scores[negatives], scores[positives], side="left")
            not_higher = np.searchsorted(scores[negatives], scores[positives], side="right")
            rankings.append((positives, negatives, lower, not_higher))
        return rankings

    def values(self, names: Sequence[str], weights: Values) -> dict[str, Values]:
        """Return each metric (resamples,) under `weights` (resamples, rows)."""
        counts = self._counts(weights)
        return {
            name: _FROM_COUNTS[name](counts) if name in _FROM_COUNTS else _FROM_WEIGHTS[name](self, weights)
            for name in names
        }

    def _counts(self, weights: Values) -> Values:
        """Return the confusion counts (resamples, expected classes, predicted classes)."""
        cells = self.expected * self.classes + metrics.predicted_labels(self.probabilities)
        counts = np.empty((len(weights), self.classes**2))
        for count, row in zip(counts, weights, strict=True):
            count[:] = np.bincount(cells, weights=row, minlength=self.classes**2)
        return counts.reshape(-1, self.classes, self.classes)


def _ratio(numerator: Values, denominator: Values) -> Values:
    """Return the quotient, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator > 0)


def _correct(counts: Values) -> Values:
    return np.diagonal(counts, axis1=1, axis2=2)


def _matthews_correlation(counts: Values) -> Values:
    """Return the covariance form of Gorodkin (2004)."""
    expected, predicted, rows = counts.sum(axis=2), counts.sum(axis=1), counts.sum(axis=(1, 2))
    covariance = rows * _correct(counts).sum(axis=1) - (expected * predicted).sum(axis=1)
    of_expected = rows**2 - (expected**2).sum(axis=1)
    of_predicted = rows**2 - (predicted**2).sum(axis=1)
    values = _ratio(covariance, np.sqrt(of_expected) * np.sqrt(of_predicted))
    # The rule of metrics.py: a collapsed model scores 0, labels of one class have no value.
    return np.where((of_predicted == 0) & (of_expected > 0), 0.0, values)


def _recall_by_class(counts: Values) -> Values:
    return _ratio(_correct(counts), counts.sum(axis=2))


def _f1_by_class(counts: Values) -> Values:
    return _ratio(2 * _correct(counts), counts.sum(axis=1) + counts.sum(axis=2))


def _roc_auc(rows: _Rows, weights: Values) -> Values:
    """Return the share of weighted pairs that are ranked rightly, ties counted half (Mann and Whitney 1947)."""
    areas = np.empty((len(weights), len(rows.rankings)))
    for column, (positives, negatives, lower, not_higher) in enumerate(rows.rankings):
        for index, row in enumerate(weights):
            mass = np.concatenate(([0.0], np.cumsum(row[negatives])))
            pairs = row[positives].sum() * mass[-1]
            wins = row[positives] @ (mass[lower] + mass[not_higher])
            areas[index, column] = wins / (2 * pairs) if pairs else math.nan
    return areas.mean(axis=1)


def _mean_loss(loss: Callable[[Labels, Probabilities], Values]) -> Callable[[_Rows, Values], Values]:
    return lambda rows, weights: weights @ loss(rows.expected, rows.probabilities) / weights.sum(axis=1)


def _expected_calibration_error(rows: _Rows, weights: Values) -> Values:
    return np.abs(weights @ rows.binned_gaps).sum(axis=1) / weights.sum(axis=1)


_FROM_COUNTS: Final[dict[str, Callable[[Values], Values]]] = {
    "matthews_correlation": _matthews_correlation,
    "accuracy": lambda counts: _correct(counts).sum(axis=1) / counts.sum(axis=(1, 2)),
    "balanced_accuracy": lambda counts: np.nanmean(_recall_by_class(counts), axis=1),
    "f1": lambda counts: _f1_by_class(counts)[:, 1],
    "macro_f1": lambda counts: np.nanmean(_f1_by_class(counts), axis=1),
    "precision": lambda counts: _ratio(_correct(counts), counts.sum(axis=1))[:, 1],
    "recall": lambda counts: _recall_by_class(counts)[:, 1],
}

_FROM_WEIGHTS: Final[dict[str, Callable[[_Rows, Values], Values]]] = {
    "roc_auc": _roc_auc,
    "brier": _mean_loss(metrics.brier_losses),
    "log_loss": _mean_loss(metrics.log_losses),
    "expected_calibration_error": _expected_calibration_error,
}
