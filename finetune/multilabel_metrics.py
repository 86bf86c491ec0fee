"""The metrics of several labels at once: by label, over all labels, and by row, and when they have no value.

Owns the formulas, which take the `MultilabelAnswers` on at least one row. A mean over labels leaves out those that have no value on these
rows; where all have none, it has none. Names and ranges are in `metrics`.

scikit-learn is imported on first use, since importing `sklearn.metrics` takes seconds.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from finetune.answers import MultilabelAnswers, Numbers
from finetune.metric import Undefined

NO_LABEL: Final = "no label holds for a row, or is predicted for one"
NOTHING_TO_RANK: Final = "no label holds for some of the rows and not for others"


def macro_f1(answers: MultilabelAnswers) -> float | Undefined:
    """Return the mean F1 over the labels that occur in the expected or the predicted ones."""
    from sklearn.metrics import f1_score

    occurring = np.flatnonzero((answers.expected | answers.predicted).any(axis=0))
    if not occurring.size:
        return Undefined(NO_LABEL)
    # One by one: given a single column, scikit-learn takes it for two classes and averages over both.
    columns = ((answers.expected[:, label], answers.predicted[:, label]) for label in occurring)
    return float(np.mean([f1_score(expected, predicted, zero_division=0) for expected, predicted in columns]))


def micro_f1(answers: MultilabelAnswers) -> float | Undefined:
    """Return the F1 of all decisions together, whichever label they are about."""
    from sklearn.metrics import f1_score

    if not (answers.expected | answers.predicted).any():
        return Undefined(NO_LABEL)
    return float(f1_score(answers.expected.ravel(), answers.predicted.ravel(), zero_division=0))


def subset_accuracy(answers: MultilabelAnswers) -> float:
    """Return the share of rows with exactly the expected labels."""
    return float(np.mean(are_right(answers)))


def hamming_loss(answers: MultilabelAnswers) -> float:
    """Return the share of wrong decisions among all of them, one a row and label."""
    return float(np.mean(wrong_shares(answers)))


def are_right(answers: MultilabelAnswers) -> NDArray[np.bool_]:
    """Return whether each row has exactly the expected labels, (rows,)."""
    return np.all(answers.expected == answers.predicted, axis=1)


def wrong_shares(answers: MultilabelAnswers) -> Numbers:
    """Return the share of labels that are wrong of each row, (rows,)."""
    return np.mean(answers.expected != answers.predicted, axis=1)


def roc_auc(answers: MultilabelAnswers) -> float | Undefined:
    """Return the mean area under the ROC curve over the labels that some rows have and others haven't."""
    from sklearn.metrics import roc_auc_score

    return _mean_area(answers, roc_auc_score)


def pr_auc(answers: MultilabelAnswers) -> float | Undefined:
    """Return the mean average precision over the labels that some rows have and others haven't."""
    from sklearn.metrics import average_precision_score

    return _mean_area(answers, average_precision_score)


def _mean_area(answers: MultilabelAnswers, area: Callable[..., float]) -> float | Undefined:
    ranked = np.flatnonzero(answers.expected.any(axis=0) & ~answers.expected.all(axis=0))
    if not ranked.size:
        return Undefined(NOTHING_TO_RANK)
    return float(np.mean([area(answers.expected[:, label], answers.probabilities[:, label]) for label in ranked]))
