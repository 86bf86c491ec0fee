"""The metrics of many weighted versions of the same rows at once, which resampling needs.

Owns a formula for each metric of `metrics` that takes the tallies of labels or the row weights of all versions together. For weights
of 1 each agrees with `metrics`, which owns names, definitions and the rules for undefined cases; here undefined is NaN.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from finetune import metrics
from finetune.answers import Answers
from finetune.calibration import CALIBRATION_BINS, calibration_gaps

Values = NDArray[np.float64]
Weights = NDArray[np.number]
"""How often each row counts, (versions, rows); whole numbers take less time than others."""


@dataclass(frozen=True)
class Tallies:
    """How many rows of each class are expected, predicted, and both, (versions, classes): all that a metric of labels needs."""

    expected: Values
    predicted: Values
    right: Values

    def __add__(self, other: "Tallies") -> "Tallies":
        """Return the tallies of both sets of rows together."""
        return Tallies(self.expected + other.expected, self.predicted + other.predicted, self.right + other.right)


def tally(answers: Answers, weights: Weights) -> Tallies:
    """Return the tallies of answers under `weights` (versions, rows)."""
    from scipy.sparse import csr_array

    rows, classes = np.arange(len(answers)), answers.classes
    right = np.flatnonzero(answers.is_right)
    columns = np.concatenate([answers.expected, classes + answers.predicted, 2 * classes + answers.expected[right]])
    # Sparse, since a row counts in three columns at most, however many classes there are.
    of_row = csr_array(
        (np.ones(len(columns)), (np.concatenate([rows, rows, right]), columns)), shape=(len(answers), 3 * classes)
    )
    return Tallies(*np.split(np.asarray(weights @ of_row), 3, axis=1))


def tally_values(name: str, tallies: Tallies) -> Values:
    """Return a metric (versions,) of labels from their tallies; F1, precision and recall are those of class 1."""
    return _FROM_TALLIES[name](tallies)


def count_values(name: str, counts: Values) -> Values:
    """Return a metric (versions,) of labels from confusion counts (versions, expected classes, predicted classes)."""
    return tally_values(name, Tallies(counts.sum(axis=2), counts.sum(axis=1), np.diagonal(counts, axis1=1, axis2=2)))


def needs_labels_only(name: str) -> bool:
    """Say whether a metric follows from the tallies of labels."""
    return name in _FROM_TALLIES


class WeightedRows:
    """Rows with what all weighted versions of them share, such as their order by score."""

    def __init__(self, answers: Answers) -> None:
        """Take the answers on the rows."""
        self.answers = answers

    def values(self, names: Sequence[str], weights: Weights) -> dict[str, Values]:
        """Return metrics (versions,) with row i counted `weights[version, i]` times, NaN where one is undefined."""
        found = {}
        if any(name in _FROM_TALLIES for name in names):
            tallies = tally(self.answers, weights)
            found |= {name: _FROM_TALLIES[name](tallies) for name in names if name in _FROM_TALLIES}
        if any(name in _FROM_CURVES for name in names):
            by_class = [
                {name: _FROM_CURVES[name](curve) for name in names if name in _FROM_CURVES}
                for curve in self.curves(weights)
            ]
            found |= {name: np.mean([areas[name] for areas in by_class], axis=0) for name in by_class[0]}
        if any(name in _FROM_LOSSES for name in names):
            numbers = weights.astype(np.float64, copy=False)
            sums = numbers.sum(axis=1)
            found |= {name: _ratio(_FROM_LOSSES[name](self, numbers), sums) for name in names if name in _FROM_LOSSES}
        return found

    @cached_property
    def binned_gaps(self) -> Values:
        """Return the calibration gap of each row in the column of its bin (rows, bins)."""
        bins, gaps = calibration_gaps(self.answers.expected, self.answers.probabilities)
        columns = np.zeros((len(gaps), CALIBRATION_BINS))
        columns[np.arange(len(gaps)), bins] = gaps
        return columns

    @cached_property
    def losses(self) -> dict[str, Values]:
        """Return the losses (rows,) whose means are metrics."""
        expected, probabilities = self.answers.expected, self.answers.probabilities
        return {
            "brier": metrics.brier_losses(expected, probabilities),
            "log_loss": metrics.log_losses(expected, probabilities),
        }

    @cached_property
    def rankings(self) -> "list[_Ranking]":
        """Return the order of the rows by each class against the rest."""
        expected, probabilities = self.answers.expected, self.answers.probabilities
        ranked = metrics.ranked_classes(self.answers.classes)
        return [_Ranking.of(probabilities[:, label], expected == label) for label in ranked]

    def curves(self, weights: Weights) -> "Iterator[_Curve]":
        """Go through the classes against the rest: what stands at and above the score of each positive row."""
        for ranking in self.rankings:
            ordered = weights.take(ranking.order, axis=1)
            # The sums keep the type of the weights: of whole numbers they are exact and take an eighth of the time.
            rows = np.cumsum(ordered, axis=1, dtype=ordered.dtype)
            gain = ordered.take(ranking.positives, axis=1)
            positive = np.cumsum(gain, axis=1, dtype=gain.dtype)
            total = rows[:, -1] - gain.sum(axis=1)
            if not ranking.has_ties:
                negative = rows.take(ranking.positives, axis=1) - positive
                yield _Curve(gain, positive, negative, negative, total)
                continue
            # Of a run of equal scores, all rows come before the threshold falls below it.
            rows_above = rows.take(ranking.run_starts, axis=1) - ordered.take(ranking.run_starts, axis=1)
            first = ranking.first_positives
            negative_above = rows_above - (positive.take(first, axis=1) - gain.take(first, axis=1))
            positive = positive.take(ranking.last_positives, axis=1)
            yield _Curve(gain, positive, rows.take(ranking.run_ends, axis=1) - positive, negative_above, total)


@dataclass(frozen=True)
class _Ranking:
    """Rows by falling score, and where the positive ones of them stand.

    Attributes:
        order: (rows,) the rows by falling score.
        positives: (positives,) positions of the positive rows in that order.
        run_starts: (positives,) position at which the run of rows with the score of a positive row starts.
        run_ends: (positives,) position at which it ends.
        first_positives: (positives,) number of the first positive row in that run.
        last_positives: (positives,) number of the last.
        has_ties: whether a positive row shares its score with another row.
    """

    order: NDArray[np.int64]
    positives: NDArray[np.int64]
    run_starts: NDArray[np.int64]
    run_ends: NDArray[np.int64]
    first_positives: NDArray[np.int64]
    last_positives: NDArray[np.int64]
    has_ties: bool

    @classmethod
    def of(cls, scores: Values, is_positive: NDArray[np.bool_]) -> "_Ranking":
        order = np.argsort(-scores, kind="stable")
        falling = -scores[order]
        positives = np.flatnonzero(is_positive[order])
        starts = np.searchsorted(falling, falling[positives], side="left")
        ends = np.searchsorted(falling, falling[positives], side="right") - 1
        first = np.searchsorted(positives, starts, side="left")
        last = np.searchsorted(positives, ends, side="right") - 1
        return cls(order, positives, starts, ends, first, last, bool(np.any(starts < ends)))


@dataclass(frozen=True)
class _Curve:
    """What stands where the threshold is the score of a positive row, (versions, positives).

    Attributes:
        gain: weight of the positive row itself.
        positive: weight of the positive rows at or above its score.
        negative: weight of the negative rows at or above it.
        negative_above: weight of the negative rows above it.
        negative_total: weight of all negative rows, (versions,).
    """

    gain: Weights
    positive: Weights
    negative: Weights
    negative_above: Weights
    negative_total: Weights


def _ratio(numerator: Values, denominator: Values) -> Values:
    """Return the quotient, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator > 0)


def _mean_of_defined(values: Values) -> Values:
    """Return the mean over classes (versions,) of values (versions, classes), leaving NaN out; NaN where all are."""
    is_defined = ~np.isnan(values)
    return _ratio(np.where(is_defined, values, 0.0).sum(axis=1), is_defined.sum(axis=1))


def _matthews_correlation(tallies: Tallies) -> Values:
    """Return the covariance form of Gorodkin (2004)."""
    expected, predicted, rows = tallies.expected, tallies.predicted, tallies.expected.sum(axis=1)
    covariance = rows * tallies.right.sum(axis=1) - (expected * predicted).sum(axis=1)
    of_expected = rows**2 - (expected**2).sum(axis=1)
    of_predicted = rows**2 - (predicted**2).sum(axis=1)
    values = _ratio(covariance, np.sqrt(of_expected) * np.sqrt(of_predicted))
    # The rule of metrics.py: a collapsed model scores 0, labels of one class have no value.
    return np.where((of_predicted == 0) & (of_expected > 0), 0.0, values)


def _accuracy(tallies: Tallies) -> Values:
    return _ratio(tallies.right.sum(axis=1), tallies.expected.sum(axis=1))


def _precision_by_class(tallies: Tallies) -> Values:
    return _ratio(tallies.right, tallies.predicted)


def _recall_by_class(tallies: Tallies) -> Values:
    return _ratio(tallies.right, tallies.expected)


def _f1_by_class(tallies: Tallies) -> Values:
    return _ratio(2 * tallies.right, tallies.expected + tallies.predicted)


def _roc_auc(curve: _Curve) -> Values:
    """Return the share of weighted pairs that are ranked rightly, ties counted half (Mann and Whitney 1947)."""
    lost = np.einsum("ij,ij->i", curve.gain, curve.negative, dtype=np.float64)
    if curve.negative_above is not curve.negative:
        lost = (lost + np.einsum("ij,ij->i", curve.gain, curve.negative_above, dtype=np.float64)) / 2
    pairs = curve.gain.sum(axis=1) * curve.negative_total.astype(np.float64)
    return _ratio(pairs - lost, pairs)


def _average_precision(curve: _Curve) -> Values:
    """Return the precision at each score, weighted by the recall gained there (scikit-learn's average precision)."""
    predicted = (curve.positive + curve.negative).astype(np.float64)
    # Nothing stands above rows that no resample drew; they gain nothing either.
    precision = curve.positive / np.maximum(predicted, np.finfo(np.float64).tiny)
    area = _ratio(np.einsum("ij,ij->i", curve.gain, precision), curve.gain.sum(axis=1))
    return np.where(curve.negative_total > 0, area, np.nan)


def _sum_of(loss: str) -> Callable[[WeightedRows, Values], Values]:
    return lambda rows, weights: weights @ rows.losses[loss]


def _sum_of_gaps(rows: WeightedRows, weights: Values) -> Values:
    return np.abs(weights @ rows.binned_gaps).sum(axis=1)


_FROM_TALLIES: Final[dict[str, Callable[[Tallies], Values]]] = {
    "matthews_correlation": _matthews_correlation,
    "accuracy": _accuracy,
    "balanced_accuracy": lambda tallies: _mean_of_defined(_recall_by_class(tallies)),
    "f1": lambda tallies: _f1_by_class(tallies)[:, 1],
    "macro_f1": lambda tallies: _mean_of_defined(_f1_by_class(tallies)),
    "precision": lambda tallies: _precision_by_class(tallies)[:, 1],
    "recall": lambda tallies: _recall_by_class(tallies)[:, 1],
}

_FROM_CURVES: Final[dict[str, Callable[[_Curve], Values]]] = {"roc_auc": _roc_auc, "pr_auc": _average_precision}

_FROM_LOSSES: Final[dict[str, Callable[[WeightedRows, Values], Values]]] = {
    "brier": _sum_of("brier"),
    "log_loss": _sum_of("log_loss"),
    "expected_calibration_error": _sum_of_gaps,
}
"""The sums over rows whose means are metrics."""
