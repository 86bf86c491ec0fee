"""The metrics of classes of many weighted versions of the same rows at once, which resampling needs.

Owns a formula for each metric of `class_metrics` that takes the tallies of labels or the row weights of all versions together. For weights
of 1 each agrees with `class_metrics`, which owns definitions and the rules for undefined cases; here undefined is NaN.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from finetune import class_metrics
from finetune.answers import Answers
from finetune.calibration import CALIBRATION_BINS, calibration_gaps
from finetune.weighted_areas import AREAS, Ranking, weighted_areas
from finetune.weighted_values import Values, Weights, divide, mean_of_defined


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


class WeightedClasses:
    """Classified rows with what all weighted versions of them share, such as their order by score."""

    def __init__(self, answers: Answers) -> None:
        """Take the answers on the rows."""
        self.answers = answers

    def values(self, names: Sequence[str], weights: Weights) -> dict[str, Values]:
        """Return metrics (versions,) with row i counted `weights[version, i]` times, NaN where one is undefined."""
        found = {}
        if any(name in _FROM_TALLIES for name in names):
            tallies = tally(self.answers, weights)
            found |= {name: _FROM_TALLIES[name](tallies) for name in names if name in _FROM_TALLIES}
        if ranked := [name for name in names if name in AREAS]:
            areas = weighted_areas(self.rankings, ranked, weights)
            found |= {name: by_class.mean(axis=0) for name, by_class in areas.items()}
        if any(name in _FROM_LOSSES for name in names):
            numbers = weights.astype(np.float64, copy=False)
            sums = numbers.sum(axis=1)
            found |= {name: divide(_FROM_LOSSES[name](self, numbers), sums) for name in names if name in _FROM_LOSSES}
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
            "brier": class_metrics.brier_losses(expected, probabilities),
            "log_loss": class_metrics.log_losses(expected, probabilities),
        }

    @cached_property
    def rankings(self) -> list[Ranking]:
        """Return the order of the rows by each class against the rest."""
        expected, probabilities = self.answers.expected, self.answers.probabilities
        ranked = class_metrics.ranked_classes(self.answers.classes)
        return [Ranking.of(probabilities[:, label], expected == label) for label in ranked]


def _matthews_correlation(tallies: Tallies) -> Values:
    """Return the covariance form of Gorodkin (2004)."""
    expected, predicted, rows = tallies.expected, tallies.predicted, tallies.expected.sum(axis=1)
    covariance = rows * tallies.right.sum(axis=1) - (expected * predicted).sum(axis=1)
    of_expected = rows**2 - (expected**2).sum(axis=1)
    of_predicted = rows**2 - (predicted**2).sum(axis=1)
    values = divide(covariance, np.sqrt(of_expected) * np.sqrt(of_predicted))
    # The rule of class_metrics.py: a collapsed model scores 0, labels of one class have no value.
    return np.where((of_predicted == 0) & (of_expected > 0), 0.0, values)


def _accuracy(tallies: Tallies) -> Values:
    return divide(tallies.right.sum(axis=1), tallies.expected.sum(axis=1))


def _precision_by_class(tallies: Tallies) -> Values:
    return divide(tallies.right, tallies.predicted)


def _recall_by_class(tallies: Tallies) -> Values:
    return divide(tallies.right, tallies.expected)


def _f1_by_class(tallies: Tallies) -> Values:
    return divide(2 * tallies.right, tallies.expected + tallies.predicted)


def _sum_of(loss: str) -> Callable[[WeightedClasses, Values], Values]:
    return lambda rows, weights: weights @ rows.losses[loss]


def _sum_of_gaps(rows: WeightedClasses, weights: Values) -> Values:
    return np.abs(weights @ rows.binned_gaps).sum(axis=1)


_FROM_TALLIES: Final[dict[str, Callable[[Tallies], Values]]] = {
    "matthews_correlation": _matthews_correlation,
    "accuracy": _accuracy,
    "balanced_accuracy": lambda tallies: mean_of_defined(_recall_by_class(tallies)),
    "f1": lambda tallies: _f1_by_class(tallies)[:, 1],
    "macro_f1": lambda tallies: mean_of_defined(_f1_by_class(tallies)),
    "precision": lambda tallies: _precision_by_class(tallies)[:, 1],
    "recall": lambda tallies: _recall_by_class(tallies)[:, 1],
}

_FROM_LOSSES: Final[dict[str, Callable[[WeightedClasses, Values], Values]]] = {
    "brier": _sum_of("brier"),
    "log_loss": _sum_of("log_loss"),
    "expected_calibration_error": _sum_of_gaps,
}
"""The sums over rows whose means are metrics."""
