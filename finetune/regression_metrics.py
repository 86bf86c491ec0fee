"""The metrics of regression: correlations and errors of predicted numbers, and when they have no value.

Owns the formulas, which take the `RegressionAnswers` on at least one row. Names and ranges are in `metrics`.
"""

from typing import Final

import numpy as np

from finetune.answers import Numbers, RegressionAnswers
from finetune.metric import Undefined

FEWEST_ROWS: Final = 3
"""Through two points there is always a line: a correlation of fewer rows than this is 1 or -1 whatever a model says."""

TOO_FEW_ROWS: Final = f"fewer than {FEWEST_ROWS} rows"


def pearson(answers: RegressionAnswers) -> float | Undefined:
    """Return the product-moment correlation (Pearson 1895)."""
    return _correlate(answers.expected, answers.predicted)


def spearman(answers: RegressionAnswers) -> float | Undefined:
    """Return the correlation of ranks (Spearman 1904); equal numbers share the mean of their ranks."""
    from scipy.stats import rankdata

    return _correlate(rankdata(answers.expected), rankdata(answers.predicted))


def mean_squared_error(answers: RegressionAnswers) -> float:
    """Return the mean of the squared differences."""
    return float(np.mean(squared_errors(answers)))


def mean_absolute_error(answers: RegressionAnswers) -> float:
    """Return the mean of the differences without their signs."""
    return float(np.mean(absolute_errors(answers)))


def squared_errors(answers: RegressionAnswers) -> Numbers:
    """Return the squared difference of each row, (rows,)."""
    return (answers.predicted - answers.expected) ** 2


def absolute_errors(answers: RegressionAnswers) -> Numbers:
    """Return the difference of each row without its sign, (rows,)."""
    return np.abs(answers.predicted - answers.expected)


def _correlate(expected: Numbers, predicted: Numbers) -> float | Undefined:
    """Return the correlation of two columns (rows,), undefined where one of them doesn't vary."""
    if len(expected) < FEWEST_ROWS:
        return Undefined(TOO_FEW_ROWS)
    for side, numbers in (("expected", expected), ("predicted", predicted)):
        if np.all(numbers == numbers[0]):
            return Undefined(f"every {side} number is the same")
    return float(np.clip(np.corrcoef(standardise(expected), standardise(predicted))[0, 1], -1.0, 1.0))


def standardise(numbers: Numbers) -> Numbers:
    """Return numbers (rows,) from -1 to 1 with a mean of 0, which no correlation sees, so that their squares stay exact."""
    centred = numbers - numbers.mean()
    largest = np.abs(centred).max()
    return centred / largest if largest > 0 else centred
