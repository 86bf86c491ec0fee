"""The metrics of a classification run: their names, ranges, rules for undefined cases and values.

Every metric takes the expected label ids and the predicted class probabilities of the same rows. A metric that has no
value for these rows is undefined with a reason: it is never 0 by accident and never a warning. The predicted label of
a row is its most probable class, the lowest id where several tie. Intervals and seed statistics are in
`finetune.statistics`; the same metrics as `evaluate` modules are in `finetune.evaluate_metrics`.

scikit-learn is imported on first use, since importing `sklearn.metrics` takes seconds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finetune.errors import DataError, FinetuneError, InvalidResultError, RecipeError, suggest

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]

CALIBRATION_BINS: Final = 10
"""Number of equal-width confidence bins of the expected calibration error."""

SUM_TOLERANCE: Final = 1e-3
"""How far the probabilities of a row may sum from 1: room for half-precision rounding, none for logits."""

LOWEST_PROBABILITY: Final = float(np.finfo(np.float64).eps)
"""Log loss counts a smaller probability as this one, as `sklearn.metrics.log_loss` does, so that it stays finite."""

NO_ROWS: Final = "no rows"
ONE_LABEL: Final = "only one class in the labels"
TWO_CLASSES_ONLY: Final = "defined for two classes only"


@dataclass(frozen=True)
class Undefined:
    """A metric has no value for these rows."""

    reason: str


@dataclass(frozen=True)
class MetricValue:
    """The value of one metric, or None with the reason why there is none."""

    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Metric:
    """A metric as the registry and the reports know it.

    Attributes:
        name: the key in recipes and result files.
        title: the name in reports.
        higher_is_better: whether a larger value is a better model.
        low: smallest possible value for any number of classes.
        high: largest possible value for any number of classes, `inf` where there is no bound.
        needs: whether the value depends on the predicted labels alone or on the probabilities.
        compute: the value for checked arrays of at least one row; call `score` for unchecked ones.
    """

    name: str
    title: str
    higher_is_better: bool
    low: float
    high: float
    needs: Literal["labels", "probabilities"]
    compute: Callable[[Labels, Probabilities], float | Undefined]


def get_metric(name: str) -> Metric:
    """Return the metric called `name`.

    Raises:
        RecipeError: no metric has this name; the message lists those there are.
    """
    if name not in METRICS:
        raise RecipeError([f"unknown metric {name!r}, allowed are {', '.join(METRICS)}{suggest(name, list(METRICS))}"])
    return METRICS[name]


def score(name: str, expected: ArrayLike, probabilities: ArrayLike) -> MetricValue:
    """Return the value of one metric for `expected` (rows,) and `probabilities` (rows, classes).

    Raises:
        RecipeError: no metric has this name.
        InvalidResultError: a probability is not finite, is outside 0..1, or a row does not sum to 1.
        DataError: an expected label is not an integer from 0 to classes - 1.
        FinetuneError: the shapes do not belong together.
    """
    metric = get_metric(name)
    labels, checked = check_arrays(expected, probabilities)
    outcome = metric.compute(labels, checked) if len(labels) else Undefined(NO_ROWS)
    return MetricValue(None, outcome.reason) if isinstance(outcome, Undefined) else MetricValue(outcome)


def check_arrays(expected: ArrayLike, probabilities: ArrayLike) -> tuple[Labels, Probabilities]:
    """Return `expected` (rows,) as int64 and `probabilities` (rows, classes) as float64 after checking both.

    Raises:
        InvalidResultError: a probability is not finite, is outside 0..1, or a row does not sum to 1.
        DataError: an expected label is not an integer from 0 to classes - 1.
        FinetuneError: the shapes do not belong together.
    """
    labels, values = np.asarray(expected), np.asarray(probabilities, dtype=np.float64)
    if labels.ndim != 1 or values.ndim != 2 or len(labels) != len(values) or values.shape[1] < 2:
        raise FinetuneError(
            f"metrics need labels (rows,) and probabilities (rows, 2 or more classes), got {labels.shape} and "
            f"{values.shape}"
        )
    if not len(labels):
        return labels.astype(np.int64), values
    if labels.dtype.kind not in "iu":
        raise DataError(f"labels must be integers, found {labels.dtype}")
    wrong = np.flatnonzero((labels < 0) | (labels >= values.shape[1]))
    if wrong.size:
        raise DataError(f"row {wrong[0]}: label {labels[wrong[0]]} is not one of 0..{values.shape[1] - 1}")
    # A comparison with NaN is false, so the negated form also finds rows that are not finite.
    inside = np.all((values >= -SUM_TOLERANCE) & (values <= 1 + SUM_TOLERANCE), axis=1)
    inside[inside] = np.abs(values[inside].sum(axis=1) - 1) <= SUM_TOLERANCE
    wrong = np.flatnonzero(~inside)
    if wrong.size:
        raise InvalidResultError(f"row {wrong[0]}: {values[wrong[0]].tolist()} are not probabilities that sum to 1")
    return labels.astype(np.int64), np.clip(values, 0.0, 1.0)


def predicted_labels(probabilities: Probabilities) -> Labels:
    """Return the most probable class of each row of `probabilities` (rows, classes), the first where several tie."""
    return np.argmax(probabilities, axis=1).astype(np.int64)


def brier_losses(expected: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the Brier loss (rows,) of each row of `probabilities` (rows, classes).

    With two classes it is (p1 - y)^2, from 0 to 1. With more it is the sum over classes of (p - y)^2, from 0 to 2, the
    definition of Brier (1950), "Verification of forecasts expressed in terms of probability"; for two classes that sum
    would be twice the value given here.
    """
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] - expected) ** 2
    return ((probabilities - np.eye(probabilities.shape[1])[expected]) ** 2).sum(axis=1)


def log_losses(expected: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return minus the natural logarithm of the probability of the expected class (rows,).

    Probabilities below `LOWEST_PROBABILITY` count as that.
    """
    of_expected = probabilities[np.arange(len(expected)), expected]
    return -np.log(np.clip(of_expected, LOWEST_PROBABILITY, 1.0))


def calibration_gaps(expected: Labels, probabilities: Probabilities) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the confidence bin (rows,) and the confidence minus correctness (rows,) of each row.

    The confidence is the probability of the predicted class. Bin m of `CALIBRATION_BINS` holds confidences in
    (m / bins, (m + 1) / bins], and the first bin also 0, as in section 2 of Guo et al. (2017), "On calibration of
    modern neural networks".
    """
    confidence = probabilities.max(axis=1)
    correct = predicted_labels(probabilities) == expected
    inner_edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    return np.searchsorted(inner_edges, confidence, side="left").astype(np.int64), confidence - correct


def _matthews_correlation(expected: Labels, probabilities: Probabilities) -> float | Undefined:
    """Return Matthews (1975), for several classes as in Gorodkin (2004).

    The formula is 0/0 when all predictions are one class. scikit-learn and the GLUE scripts report 0 for that collapsed
    model, so this does too; with one class in the labels nothing can be learnt and the value is undefined.
    """
    if np.all(expected == expected[0]):
        return Undefined(ONE_LABEL)
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(expected, predicted_labels(probabilities)))


def _accuracy(expected: Labels, probabilities: Probabilities) -> float:
    return float(np.mean(expected == predicted_labels(probabilities)))


def _balanced_accuracy(expected: Labels, probabilities: Probabilities) -> float:
    """Return the mean recall over the classes that occur in the labels (`sklearn.metrics.balanced_accuracy_score`)."""
    from sklearn.metrics import recall_score

    # balanced_accuracy_score itself warns about predicted classes without labels; its value is this macro recall.
    present = np.unique(expected)
    return float(recall_score(expected, predicted_labels(probabilities), labels=present, average="macro"))


def _macro_f1(expected: Labels, probabilities: Probabilities) -> float:
    """Return the mean F1 over the classes that occur in the labels or the predictions, as scikit-learn does."""
    from sklearn.metrics import f1_score

    return float(f1_score(expected, predicted_labels(probabilities), average="macro"))


def _f1(expected: Labels, probabilities: Probabilities) -> float | Undefined:
    """Return the F1 of class 1."""
    if probabilities.shape[1] > 2:
        return Undefined(f"{TWO_CLASSES_ONLY}, use macro_f1")
    predicted = predicted_labels(probabilities)
    if not (expected.any() or predicted.any()):
        return Undefined("no row is positive in the labels or the predictions")
    from sklearn.metrics import f1_score

    return float(f1_score(expected, predicted, zero_division=0))


def _precision(expected: Labels, probabilities: Probabilities) -> float | Undefined:
    """Return the precision of class 1."""
    if probabilities.shape[1] > 2:
        return Undefined(TWO_CLASSES_ONLY)
    predicted = predicted_labels(probabilities)
    if not predicted.any():
        return Undefined("no row is predicted positive")
    from sklearn.metrics import precision_score

    return float(precision_score(expected, predicted))


def _recall(expected: Labels, probabilities: Probabilities) -> float | Undefined:
    """Return the recall of class 1."""
    if probabilities.shape[1] > 2:
        return Undefined(TWO_CLASSES_ONLY)
    if not expected.any():
        return Undefined("no row is positive in the labels")
    from sklearn.metrics import recall_score

    return float(recall_score(expected, predicted_labels(probabilities)))


def _roc_auc(expected: Labels, probabilities: Probabilities) -> float | Undefined:
    """Return the area under the ROC curve; with several classes the mean over one class against the rest."""
    classes = probabilities.shape[1]
    if np.all(expected == expected[0]):
        return Undefined(ONE_LABEL)
    missing = np.setdiff1d(np.arange(classes), expected)
    if missing.size:
        return Undefined(f"no row has label {missing[0]}")
    from sklearn.metrics import roc_auc_score

    against_rest = [1] if classes == 2 else range(classes)
    return float(np.mean([roc_auc_score(expected == label, probabilities[:, label]) for label in against_rest]))


def _brier(expected: Labels, probabilities: Probabilities) -> float:
    return float(brier_losses(expected, probabilities).mean())


def _calibration(expected: Labels, probabilities: Probabilities) -> float:
    """Return the mean over rows of the absolute gap between confidence and accuracy of the row's bin."""
    bins, gaps = calibration_gaps(expected, probabilities)
    return float(np.abs(np.bincount(bins, weights=gaps)).sum() / len(expected))


def _log_loss(expected: Labels, probabilities: Probabilities) -> float:
    return float(log_losses(expected, probabilities).mean())


METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric("matthews_correlation", "Matthews correlation", True, -1.0, 1.0, "labels", _matthews_correlation),
        Metric("accuracy", "Accuracy", True, 0.0, 1.0, "labels", _accuracy),
        Metric("balanced_accuracy", "Balanced accuracy", True, 0.0, 1.0, "labels", _balanced_accuracy),
        Metric("f1", "F1", True, 0.0, 1.0, "labels", _f1),
        Metric("macro_f1", "Macro F1", True, 0.0, 1.0, "labels", _macro_f1),
        Metric("precision", "Precision", True, 0.0, 1.0, "labels", _precision),
        Metric("recall", "Recall", True, 0.0, 1.0, "labels", _recall),
        Metric("roc_auc", "ROC AUC", True, 0.0, 1.0, "probabilities", _roc_auc),
        Metric("brier", "Brier score", False, 0.0, 2.0, "probabilities", _brier),
        Metric("expected_calibration_error", "Calibration error (ECE)", False, 0.0, 1.0, "probabilities", _calibration),
        Metric("log_loss", "Log loss", False, 0.0, math.inf, "probabilities", _log_loss),
    )
}
"""Every metric by name, in the order of the reports."""
