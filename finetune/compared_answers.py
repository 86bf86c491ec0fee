"""The answers in a finished run's file of predictions, checked, with labels numbered as another run has them.

Owns that a file of predictions fits its run. Which runs may be compared is `compared_runs`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from finetune.answers import SUM_TOLERANCE, Answers, AnyAnswers, MultilabelAnswers, build_answers
from finetune.errors import DataError
from finetune.prediction_records import Prediction
from finetune.predictions import read_answers
from finetune.records import Report
from finetune.run_dir import read_predictions
from finetune.wording import count_of, has_classes, plain

LABELS_SHOWN = 5


def read_run_answers(
    file: Path, report: Report, labels: tuple[str, ...], count: int
) -> tuple[AnyAnswers, list[str], list[str]]:
    """Return answers with their labels numbered as in `labels`, the row ids, and what is expected of each row in words.

    Raises:
        DataError: a line is no prediction of this run, or there are more or fewer of them than rows.
    """
    if has_classes(report):
        return _read_class_answers(file, report.data.labels, labels, count)
    answers, rows, expected = read_answers(file, report.data.labels)
    _refuse_other_count(file, len(answers), count)
    if isinstance(answers, MultilabelAnswers):
        order = [report.data.labels.index(name) for name in labels]
        expected_sets, predicted_sets = answers.expected[:, order], answers.predicted[:, order]
        answers = MultilabelAnswers(expected_sets, predicted_sets, answers.probabilities[:, order])
    return answers, rows, expected


def _read_class_answers(
    file: Path, own: Sequence[str], labels: tuple[str, ...], count: int
) -> tuple[Answers, list[str], list[str]]:
    numbers = {name: number for number, name in enumerate(labels)}
    predictions = list(read_predictions(file))
    for line, prediction in enumerate(predictions, 1):
        if problem := _find_problem(prediction, numbers):
            raise DataError(f"{file}:{line}: {problem}")
    _refuse_other_count(file, len(predictions), count)
    expected = [prediction.expected for prediction in predictions]
    order = [own.index(name) for name in labels]
    answers = build_answers(
        np.array([numbers[name] for name in expected], dtype=np.int64),
        np.array([prediction.probabilities for prediction in predictions]).reshape(count, len(labels))[:, order],
        np.array([numbers[prediction.predicted] for prediction in predictions], dtype=np.int64),
    )
    return answers, [prediction.row for prediction in predictions], expected


def _refuse_other_count(file: Path, found: int, count: int) -> None:
    if found != count:
        raise DataError(f"{file}: holds {count_of(found, 'prediction')}, the report speaks of {count} rows")


def _find_problem(prediction: Prediction, numbers: dict[str, int]) -> str:
    for name in (prediction.expected, prediction.predicted):
        if name not in numbers:
            return f"'{plain(name)}' is none of the run's labels ({shorten_list(list(numbers))})"
    shares = prediction.probabilities
    if len(shares) != len(numbers):
        return f"holds {len(shares)} probabilities, the run has {len(numbers)} labels"
    if abs(sum(shares) - 1) > SUM_TOLERANCE or min(shares) < -SUM_TOLERANCE:
        return f"{shares} are not probabilities that sum to 1"
    return ""


def shorten_list(names: Sequence[str]) -> str:
    """Return the first few of many names."""
    shown = ", ".join(names[:LABELS_SHOWN])
    return shown if len(names) <= LABELS_SHOWN else f"{shown} and {len(names) - LABELS_SHOWN} more"
