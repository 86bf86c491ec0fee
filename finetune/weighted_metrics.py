"""The metrics of many weighted versions of the same rows at once, which resampling needs.

Owns a formula for each metric of `metrics` that takes confusion counts or row weights of all versions together. For weights of 1
each agrees with `metrics`, which owns names, definitions and the rules for undefined cases; here undefined is NaN.
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


def count_values(name: str, counts: Values) -> Values:
    """Return a metric (versions,) from confusion counts (versions, expected classes, predicted classes).

    F1, precision and recall are those of class 1.
    """
    return _FROM_COUNTS[name](counts)


def needs_counts_only(name: str) -> bool:
    """Say whether a metric follows from confusion counts."""
    return name in _FROM_COUNTS


def confusion_counts(answers: Answers, weights: Values) -> Values:
    """Return confusion counts (versions, expected classes, predicted classes) under `weights` (versions, rows)."""
    from scipy.sparse import csr_array

    rows, classes = len(answers), answers.classes
    cells = answers.expected * classes + answers.predicted
    # Sparse, since of many classes most pairs never occur.
    of_row = csr_array((np.ones(rows), (np.arange(rows), cells)), shape=(rows, classes * classes))
    return np.asarray(weights @ of_row).reshape(-1, classes, classes)


class WeightedRows:
    """Rows with what all weighted versions of them share, such as their order by score."""

    def __init__(self, answers: Answers) -> None:
        """Take the answers on the rows."""
        self.answers = answers

    def values(self, names: Sequence[str], weights: Values) -> dict[str, Values]:
        """Return metrics (versions,) with row i counted `weights[version, i]` times, NaN where one is undefined."""
        found = {}
        if any(name in _FROM_COUNTS for name in names):
            counts = confusion_counts(self.answers, weights)
            found |= {name: _FROM_COUNTS[name](counts) for name in names if name in _FROM_COUNTS}
        if any(name in _FROM_CURVES for name in names):
            by_class = [
                {name: _FROM_CURVES[name](curve) for name in names if name in _FROM_CURVES}
                for curve in self.curves(weights)
            ]
            found |= {name: np.mean([areas[name] for areas in by_class], axis=0) for name in by_class[0]}
        return found | {name: _FROM_WEIGHTS[name](self, weights) for name in names if name in _FROM_WEIGHTS}

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
    def rankings(self) -> list[tuple[NDArray[np.int64], ...]]:
        """Return for each class against the rest: rows by falling score, where each run of equal scores ends, which are positive."""
        found = []
        for label in metrics.ranked_classes(self.answers.classes):
            scores = self.answers.probabilities[:, label]
            order = np.argsort(-scores, kind="stable")
            ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
            found.append((order, ends, self.answers.expected[order] == label))
        return found

    def curves(self, weights: Values) -> Iterator["_Curve"]:
        """Go through the classes against the rest: what is gained at each score, and in sum at or above it."""
        for order, ends, is_positive in self.rankings:
            ordered = weights[:, order]
            gains = ordered * is_positive, ordered * ~is_positive
            sums = [np.cumsum(gain, axis=1) for gain in gains]
            if len(ends) < len(order):
                sums = [total[:, ends] for total in sums]
                gains = tuple(np.diff(total, axis=1, prepend=0.0) for total in sums)
            yield _Curve(*gains, *sums)


@dataclass(frozen=True)
class _Curve:
    """Weight of positive and negative rows by falling score, (versions, scores): at each score, and at or above it."""

    positive_gain: Values
    negative_gain: Values
    positive: Values
    negative: Values


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


def _roc_auc(curve: _Curve) -> Values:
    """Return the share of weighted pairs that are ranked rightly, ties counted half (Mann and Whitney 1947)."""
    # Each negative loses to the positives at or above it, of which those at its own score only count half.
    losses = np.einsum("ij,ij->i", curve.negative_gain, curve.positive)
    ties = np.einsum("ij,ij->i", curve.negative_gain, curve.positive_gain)
    return _ratio(losses - ties / 2, curve.positive[:, -1] * curve.negative[:, -1])


def _average_precision(curve: _Curve) -> Values:
    """Return the precision at each score, weighted by the recall gained there (scikit-learn's average precision)."""
    predicted = curve.positive + curve.negative
    precision = np.divide(curve.positive, predicted, out=np.zeros_like(predicted), where=predicted > 0)
    area = _ratio(np.einsum("ij,ij->i", curve.positive_gain, precision), curve.positive[:, -1])
    return np.where(curve.negative[:, -1] > 0, area, np.nan)


def _mean_of(loss: str) -> Callable[[WeightedRows, Values], Values]:
    return lambda rows, weights: weights @ rows.losses[loss] / weights.sum(axis=1)


def _expected_calibration_error(rows: WeightedRows, weights: Values) -> Values:
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

_FROM_CURVES: Final[dict[str, Callable[[_Curve], Values]]] = {"roc_auc": _roc_auc, "pr_auc": _average_precision}

_FROM_WEIGHTS: Final[dict[str, Callable[[WeightedRows, Values], Values]]] = {
    "brier": _mean_of("brier"),
    "log_loss": _mean_of("log_loss"),
    "expected_calibration_error": _expected_calibration_error,
}
