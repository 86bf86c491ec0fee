"""The metrics of classification: what they are for classes, and when they have no value.

Owns the formulas, which take the `Answers` on at least one row: the expected label ids, and what the model predicted. Names and ranges
are in `metrics`.

scikit-learn is imported on first use, since importing `sklearn.metrics` takes seconds.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from finetune.answers import Answers, Labels, Probabilities
from finetune.calibration import calibration_gaps
from finetune.metric import Undefined

LOWEST_PROBABILITY: Final = float(np.finfo(np.float64).eps)
"""Log loss counts a smaller probability as this one, as `sklearn.metrics.log_loss` does, so that it stays finite."""

ONE_LABEL: Final = "only one class in the labels"
TWO_CLASSES_ONLY: Final = "defined for two classes only"


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


def matthews(answers: Answers) -> float | Undefined:
    """Return Matthews (1975), for several classes as in Gorodkin (2004).

    The formula is 0/0 when all predictions are one class. scikit-learn and the GLUE scripts report 0 for that collapsed
    model, so this does too; with one class in the labels nothing can be learnt and the value is undefined.
    """
    if np.all(answers.expected == answers.expected[0]):
        return Undefined(ONE_LABEL)
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(answers.expected, answers.predicted))


def accuracy(answers: Answers) -> float:
    """Return the share of rows that are answered rightly."""
    return float(np.mean(answers.is_right))


def balanced_accuracy(answers: Answers) -> float:
    """Return the mean recall over the classes that occur in the labels (`sklearn.metrics.balanced_accuracy_score`)."""
    from sklearn.metrics import recall_score

    # balanced_accuracy_score itself warns about predicted classes without labels; its value is this macro recall.
    present = np.unique(answers.expected)
    return float(recall_score(answers.expected, answers.predicted, labels=present, average="macro"))


def macro_f1(answers: Answers) -> float:
    """Return the mean F1 over the classes that occur in the labels or the predictions, as scikit-learn does."""
    from sklearn.metrics import f1_score

    return float(f1_score(answers.expected, answers.predicted, average="macro"))


def f1(answers: Answers) -> float | Undefined:
    """Return the F1 of class 1."""
    if answers.classes > 2:
        return Undefined(f"{TWO_CLASSES_ONLY}, use macro_f1")
    if not (answers.expected.any() or answers.predicted.any()):
        return Undefined("no row is positive in the labels or the predictions")
    from sklearn.metrics import f1_score

    return float(f1_score(answers.expected, answers.predicted, zero_division=0))


def precision(answers: Answers) -> float | Undefined:
    """Return the precision of class 1."""
    if answers.classes > 2:
        return Undefined(TWO_CLASSES_ONLY)
    if not answers.predicted.any():
        return Undefined("no row is predicted positive")
    from sklearn.metrics import precision_score

    return float(precision_score(answers.expected, answers.predicted))


def recall(answers: Answers) -> float | Undefined:
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


def roc_auc(answers: Answers) -> float | Undefined:
    """Return the area under the ROC curve: how often a row of a class has a higher score than another row (Hanley and McNeil 1982)."""
    from sklearn.metrics import roc_auc_score

    return _area(answers, roc_auc_score)


def pr_auc(answers: Answers) -> float | Undefined:
    """Return the area under the precision-recall curve as scikit-learn's average precision: a step function, no trapezia.

    Interpolating linearly between points would be too optimistic (Davis and Goadrich 2006).
    """
    from sklearn.metrics import average_precision_score

    return _area(answers, average_precision_score)


def brier(answers: Answers) -> float:
    """Return the mean Brier loss."""
    return float(brier_losses(answers.expected, answers.probabilities).mean())


def calibration_error(answers: Answers) -> float:
    """Return the mean over rows of the absolute gap between confidence and accuracy of the row's bin."""
    bins, gaps = calibration_gaps(answers.expected, answers.probabilities)
    return float(np.abs(np.bincount(bins, weights=gaps)).sum() / len(answers))


def log_loss(answers: Answers) -> float:
    """Return the mean loss of the expected class, in nats."""
    return float(log_losses(answers.expected, answers.probabilities).mean())
