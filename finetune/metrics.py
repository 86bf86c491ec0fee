"""The metrics of a classification run: their names, ranges, rules for undefined cases and values.

Every metric takes a model's `Answers`: the expected label ids of some rows, and what the model predicted of them. A metric
that has no value for these rows is undefined with a reason: it is never 0 by accident and never a warning.
Intervals are in `statistics`, comparisons in `paired_tests`; the same metrics as `evaluate` modules in `evaluate_metrics`.

scikit-learn is imported on first use, since importing `sklearn.metrics` takes seconds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from finetune.answers import Answers, Labels, Probabilities
from finetune.calibration import calibration_gaps
from finetune.errors import RecipeError, suggest

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
        compute: the value for the answers on at least one row; `score` allows none.
    """

    name: str
    title: str
    higher_is_better: bool
    low: float
    high: float
    needs: Literal["labels", "probabilities"]
    compute: Callable[[Answers], float | Undefined]


def get_metric(name: str) -> Metric:
    """Return the metric called `name`.

    Raises:
        RecipeError: no metric has this name; the message lists those there are.
    """
    if name not in METRICS:
        raise RecipeError([f"unknown metric {name!r}, allowed are {', '.join(METRICS)}{suggest(name, list(METRICS))}"])
    return METRICS[name]


def score(name: str, answers: Answers) -> MetricValue:
    """Return the value of one metric.

    Raises:
        RecipeError: no metric has this name.
    """
    metric = get_metric(name)
    outcome = metric.compute(answers) if len(answers) else Undefined(NO_ROWS)
    return MetricValue(None, outcome.reason) if isinstance(outcome, Undefined) else MetricValue(outcome)


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


def _matthews_correlation(answers: Answers) -> float | Undefined:
    """Return Matthews (1975), for several classes as in Gorodkin (2004).

    The formula is 0/0 when all predictions are one class. scikit-learn and the GLUE scripts report 0 for that collapsed
    model, so this does too; with one class in the labels nothing can be learnt and the value is undefined.
    """
    if np.all(answers.expected == answers.expected[0]):
        return Undefined(ONE_LABEL)
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(answers.expected, answers.predicted))


def _accuracy(answers: Answers) -> float:
    return float(np.mean(answers.is_right))


def _balanced_accuracy(answers: Answers) -> float:
    """Return the mean recall over the classes that occur in the labels (`sklearn.metrics.balanced_accuracy_score`)."""
    from sklearn.metrics import recall_score

    # balanced_accuracy_score itself warns about predicted classes without labels; its value is this macro recall.
    present = np.unique(answers.expected)
    return float(recall_score(answers.expected, answers.predicted, labels=present, average="macro"))


def _macro_f1(answers: Answers) -> float:
    """Return the mean F1 over the classes that occur in the labels or the predictions, as scikit-learn does."""
    from sklearn.metrics import f1_score

    return float(f1_score(answers.expected, answers.predicted, average="macro"))


def _f1(answers: Answers) -> float | Undefined:
    """Return the F1 of class 1."""
    if answers.classes > 2:
        return Undefined(f"{TWO_CLASSES_ONLY}, use macro_f1")
    if not (answers.expected.any() or answers.predicted.any()):
        return Undefined("no row is positive in the labels or the predictions")
    from sklearn.metrics import f1_score

    return float(f1_score(answers.expected, answers.predicted, zero_division=0))


def _precision(answers: Answers) -> float | Undefined:
    """Return the precision of class 1."""
    if answers.classes > 2:
        return Undefined(TWO_CLASSES_ONLY)
    if not answers.predicted.any():
        return Undefined("no row is predicted positive")
    from sklearn.metrics import precision_score

    return float(precision_score(answers.expected, answers.predicted))


def _recall(answers: Answers) -> float | Undefined:
    """Return the recall of class 1."""
    if answers.classes > 2:
        return Undefined(TWO_CLASSES_ONLY)
    if not answers.expected.any():
        return Undefined("no row is positive in the labels")
    from sklearn.metrics import recall_score

    return float(recall_score(answers.expected, answers.predicted))


def ranked_classes(classes: int) -> list[int]:
    """Return the classes whose ranking counts: class 1 of two, else each against the rest."""
    return [1] if classes == 2 else list(range(classes))


def _area(answers: Answers, area: Callable[..., float]) -> float | Undefined:
    """Return the area under a curve; with several classes the mean over one class against the rest."""
    if np.all(answers.expected == answers.expected[0]):
        return Undefined(ONE_LABEL)
    missing = np.setdiff1d(np.arange(answers.classes), answers.expected)
    if missing.size:
        return Undefined(f"no row has label {missing[0]}")
    against_rest = ranked_classes(answers.classes)
    return float(np.mean([area(answers.expected == label, answers.probabilities[:, label]) for label in against_rest]))


def _roc_auc(answers: Answers) -> float | Undefined:
    from sklearn.metrics import roc_auc_score

    return _area(answers, roc_auc_score)


def _average_precision(answers: Answers) -> float | Undefined:
    """Return the area under the precision-recall curve as scikit-learn's average precision: a step function, no trapezia.

    Interpolating linearly between points would be too optimistic (Davis and Goadrich 2006).
    """
    from sklearn.metrics import average_precision_score

    return _area(answers, average_precision_score)


def _brier(answers: Answers) -> float:
    return float(brier_losses(answers.expected, answers.probabilities).mean())


def _calibration(answers: Answers) -> float:
    """Return the mean over rows of the absolute gap between confidence and accuracy of the row's bin."""
    bins, gaps = calibration_gaps(answers.expected, answers.probabilities)
    return float(np.abs(np.bincount(bins, weights=gaps)).sum() / len(answers))


def _log_loss(answers: Answers) -> float:
    return float(log_losses(answers.expected, answers.probabilities).mean())


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
        Metric("pr_auc", "PR AUC", True, 0.0, 1.0, "probabilities", _average_precision),
        Metric("brier", "Brier score", False, 0.0, 2.0, "probabilities", _brier),
        Metric("expected_calibration_error", "Calibration error (ECE)", False, 0.0, 1.0, "probabilities", _calibration),
        Metric("log_loss", "Log loss", False, 0.0, math.inf, "probabilities", _log_loss),
    )
}
"""Every metric by name, in the order of the reports."""
