"""Areas under the ROC and the precision-recall curve of many weighted versions of the same rows at once.

Owns the order of the rows by score, which all versions share, and what stands at and above each score. Which rankings a metric averages is
in `weighted_classes` and `weighted_multilabel`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from finetune.weighted_values import Values, Weights, divide


@dataclass(frozen=True)
class Ranking:
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
    def of(cls, scores: Values, is_positive: NDArray[np.bool_]) -> "Ranking":
        """Return the ranking of rows by their scores (rows,)."""
        order = np.argsort(-scores, kind="stable")
        falling = -scores[order]
        positives = np.flatnonzero(is_positive[order])
        starts = np.searchsorted(falling, falling[positives], side="left")
        ends = np.searchsorted(falling, falling[positives], side="right") - 1
        first = np.searchsorted(positives, starts, side="left")
        last = np.searchsorted(positives, ends, side="right") - 1
        return cls(order, positives, starts, ends, first, last, bool(np.any(starts < ends)))

    def curve(self, weights: Weights) -> "Curve":
        """Return what stands at and above the score of each positive row under `weights` (versions, rows)."""
        ordered = weights.take(self.order, axis=1)
        # The sums keep the type of the weights: of whole numbers they are exact and take an eighth of the time.
        rows = np.cumsum(ordered, axis=1, dtype=ordered.dtype)
        gain = ordered.take(self.positives, axis=1)
        positive = np.cumsum(gain, axis=1, dtype=gain.dtype)
        total = rows[:, -1] - gain.sum(axis=1)
        if not self.has_ties:
            negative = rows.take(self.positives, axis=1) - positive
            return Curve(gain, positive, negative, negative, total)
        # Of a run of equal scores, all rows come before the threshold falls below it.
        rows_above = rows.take(self.run_starts, axis=1) - ordered.take(self.run_starts, axis=1)
        first = self.first_positives
        negative_above = rows_above - (positive.take(first, axis=1) - gain.take(first, axis=1))
        positive = positive.take(self.last_positives, axis=1)
        return Curve(gain, positive, rows.take(self.run_ends, axis=1) - positive, negative_above, total)


@dataclass(frozen=True)
class Curve:
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


def _roc_auc(curve: Curve) -> Values:
    """Return the share of weighted pairs that are ranked rightly, ties counted half (Mann and Whitney 1947)."""
    lost = np.einsum("ij,ij->i", curve.gain, curve.negative, dtype=np.float64)
    if curve.negative_above is not curve.negative:
        lost = (lost + np.einsum("ij,ij->i", curve.gain, curve.negative_above, dtype=np.float64)) / 2
    pairs = curve.gain.sum(axis=1) * curve.negative_total.astype(np.float64)
    return divide(pairs - lost, pairs)


def _average_precision(curve: Curve) -> Values:
    """Return the precision at each score, weighted by the recall gained there (scikit-learn's average precision)."""
    predicted = (curve.positive + curve.negative).astype(np.float64)
    # Nothing stands above rows that no resample drew; they gain nothing either.
    precision = curve.positive / np.maximum(predicted, np.finfo(np.float64).tiny)
    area = divide(np.einsum("ij,ij->i", curve.gain, precision), curve.gain.sum(axis=1))
    return np.where(curve.negative_total > 0, area, np.nan)


AREAS: Final[dict[str, Callable[[Curve], Values]]] = {"roc_auc": _roc_auc, "pr_auc": _average_precision}


def weighted_areas(rankings: Sequence[Ranking], names: Sequence[str], weights: Weights) -> dict[str, Values]:
    """Return areas (rankings, versions), NaN where one is undefined."""
    by_ranking = [[AREAS[name](curve) for name in names] for curve in (ranking.curve(weights) for ranking in rankings)]
    return {name: np.stack(areas) for name, areas in zip(names, zip(*by_ranking, strict=True), strict=True)}
