"""Whether rows are enough for an interval, by metric and kind of answers.

Owns those limits and their reasons in words. How an interval is made of enough rows is `statistics`.
"""

from typing import Final

import numpy as np

from finetune.answers import Answers, AnyAnswers, MultilabelAnswers
from finetune.resampling import FEWEST_ROWS_OF_A_CLASS, LARGEST_RARE_SHARE, Resampling

FEWEST_ROWS: Final = 10
"""Fewer rows, or groups of them, say nothing that an interval could hold."""

MEANS_OVER_CLASSES: Final = frozenset({"balanced_accuracy", "macro_f1", "roc_auc", "pr_auc"})
NEED_NO_CLASSES: Final = frozenset({"accuracy", "brier", "log_loss", "expected_calibration_error"})


def too_few_rows(name: str, answers: AnyAnswers, resampling: Resampling) -> str:
    """Return why these rows are too few for an interval of a metric, or an empty string."""
    if len(answers) < FEWEST_ROWS:
        return f"fewer than {FEWEST_ROWS} rows"
    if resampling.units < FEWEST_ROWS:
        return f"fewer than {FEWEST_ROWS} groups of rows"
    if isinstance(answers, Answers):
        return _too_few_of_a_class(name, answers)
    if isinstance(answers, MultilabelAnswers) and name in MEANS_OVER_CLASSES:
        return _too_few_of_labels(answers)
    return ""


def _too_few_of_a_class(name: str, answers: Answers) -> str:
    counts = np.bincount(answers.expected, minlength=answers.classes)
    # Of many classes the metric is a mean over those that occur, of two it may have no value without both.
    smallest = counts[counts > 0].min() if answers.classes > 2 else counts.min()
    needs_classes = name in MEANS_OVER_CLASSES if answers.classes > 2 else name not in NEED_NO_CLASSES
    if needs_classes and smallest < FEWEST_ROWS_OF_A_CLASS:
        return f"fewer than {FEWEST_ROWS_OF_A_CLASS} rows of a class"
    return ""


def _too_few_of_labels(answers: MultilabelAnswers) -> str:
    """Return why a mean over labels has no interval; a few rare labels among many hardly move it, and are left out of some resamples."""
    positives = answers.expected.sum(axis=0)
    smaller = np.minimum(positives, len(answers) - positives)[positives > 0]
    is_rare = smaller < FEWEST_ROWS_OF_A_CLASS
    if is_rare.sum() <= LARGEST_RARE_SHARE * len(smaller):
        return ""
    return f"fewer than {FEWEST_ROWS_OF_A_CLASS} rows with or without more than {LARGEST_RARE_SHARE:.0%} of the labels"
