"""The trade-offs of a task of two labels: the ROC and the precision-recall curve, thinned for people.

Owns the points of the curves. The areas under them are metrics, the pictures are `curve_pictures`.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from finetune.answers import Answers
from finetune.findings import CurvePoint, Curves

MOST_POINTS: Final = 200


def build_curves(answers: Answers, label_names: Sequence[str]) -> Curves | None:
    """Return both curves with label 1 as the positive one, or None for other than two labels, or rows of one label only."""
    if answers.classes != 2 or len(np.unique(answers.expected)) < 2:
        return None
    from sklearn.metrics import precision_recall_curve, roc_curve

    scores = answers.probabilities[:, 1]
    false_rate, true_rate, roc_thresholds = roc_curve(answers.expected, scores)
    precision, recall, thresholds = precision_recall_curve(answers.expected, scores)
    return Curves(
        positive=label_names[1],
        prevalence=float(answers.expected.mean()),
        # Above every score, where scikit-learn puts infinity, nothing is predicted positive.
        roc=_thin(false_rate, true_rate, np.minimum(roc_thresholds, 1.0)),
        precision_recall=_thin(recall[:-1], precision[:-1], thresholds),
    )


def _thin(x: NDArray[np.float64], y: NDArray[np.float64], thresholds: NDArray[np.float64]) -> list[CurvePoint]:
    """Return points in the order given, the first and last among them, as far apart along the curve as their number allows."""
    length = np.concatenate(([0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))))
    wanted = np.linspace(0.0, length[-1], MOST_POINTS)
    kept = range(len(x)) if len(x) <= MOST_POINTS else np.unique(np.searchsorted(length, wanted))
    return [CurvePoint(x=float(x[n]), y=float(y[n]), threshold=float(thresholds[n])) for n in kept]
