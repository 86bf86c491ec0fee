"""Answers as the records that lie in a run, and back: one a row, of the kind that the objective gives.

Owns how each kind is written and read. The shape of the records is `records`, where they lie `run_dir`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetune.answers import (
    Answers,
    AnyAnswers,
    MultilabelAnswers,
    RegressionAnswers,
    build_answers,
    build_language_answers,
    build_multilabel_answers,
    build_regression_answers,
)
from finetune.data import groups_of, texts_of
from finetune.data_checks import hash_row, label_texts, read_column
from finetune.errors import DataError, FinetuneError, suggest
from finetune.prediction_records import (
    AnyPrediction,
    EvaluatedRow,
    LanguagePrediction,
    MultilabelPrediction,
    NextSentence,
    Prediction,
    RegressionPrediction,
)
from finetune.record_files import read_lines
from finetune.row_store import cut_rows
from finetune.text_files import show

if TYPE_CHECKING:
    from finetune.data import TaskData
    from finetune.task import Part

JOIN = " + "
"""Stands between the labels of a row, where they are written in one line."""


def build_predictions(data: "TaskData", part: "Part", answers: AnyAnswers) -> Iterator[AnyPrediction]:
    """Go through the records of a split, one a row, in its order."""
    begin = 0
    for rows in cut_rows(data.splits[part].examples):
        kind, columns = _write_answers(answers[begin : begin + len(rows)], data.label_names)
        begin += len(rows)
        for row, *values in zip(read_column(rows, "row"), *columns.values(), strict=True):
            yield kind(row=row, split=part, **dict(zip(columns, values, strict=True)))


def build_rows(data: "TaskData") -> Iterator[EvaluatedRow]:
    """Go through the records of the test rows: what was asked, so that runs can be compared row by row."""
    for rows in cut_rows(data.splits["test"].examples):
        groups = groups_of(rows) or [None] * len(rows)
        labels, names = label_texts(rows, data.label_names), read_column(rows, "row")
        for row, texts, label, group in zip(names, texts_of(rows), labels, groups, strict=True):
            yield EvaluatedRow(row=row, key=hash_row(texts, label), texts=list(texts), label=label, group=group)


def _write_answers(answers: AnyAnswers, names: Sequence[str]) -> tuple[type[AnyPrediction], dict[str, Sequence[Any]]]:
    """Return the kind of record of answers, and its fields as columns (rows,)."""
    if isinstance(answers, Answers):
        return Prediction, _write_classes(answers, names)
    if isinstance(answers, RegressionAnswers):
        return RegressionPrediction, {"expected": answers.expected.tolist(), "predicted": answers.predicted.tolist()}
    if isinstance(answers, MultilabelAnswers):
        return MultilabelPrediction, {
            "expected": [_names_of(row, names) for row in answers.expected],
            "predicted": [_names_of(row, names) for row in answers.predicted],
            "probabilities": answers.probabilities.tolist(),
        }
    columns: dict[str, Sequence[Any]] = {
        "loss": answers.losses.tolist(),
        "tokens": answers.tokens.tolist(),
        "right": answers.right.tolist(),
        "text_bytes": answers.text_bytes.tolist(),
    }
    if answers.next_sentence is not None:
        of_pairs = _write_classes(answers.next_sentence, names)
        pairs = zip(*of_pairs.values(), strict=True)
        columns["next_sentence"] = [NextSentence(**dict(zip(of_pairs, pair, strict=True))) for pair in pairs]
    return LanguagePrediction, columns


def _write_classes(answers: Answers, names: Sequence[str]) -> dict[str, Sequence[Any]]:
    return {
        "expected": [names[label] for label in answers.expected],
        "predicted": [names[label] for label in answers.predicted],
        "probabilities": answers.probabilities.tolist(),
    }


def _names_of(holds: NDArray[np.bool_], names: Sequence[str]) -> list[str]:
    return [names[label] for label in np.flatnonzero(holds)]


class ReadAnswers(NamedTuple):
    """The answers in a file of predictions, with the id of each row and what is expected of it in words."""

    answers: AnyAnswers
    rows: list[str]
    expected: list[str]


def read_answers(path: Path, names: Sequence[str]) -> ReadAnswers:
    """Return what lies in a file of predictions of a run with these labels, of whichever kind its first record is.

    Raises:
        MissingInputError: there is no such file.
        DataError: a line is no prediction of that kind, names another label, or holds what no model says.
    """
    records: list[AnyPrediction] = list(read_lines(_find_kind(path), path))
    if not records:
        raise DataError(f"{path}: holds no predictions")
    try:
        answers = _build_answers(path, records, names)
    except FinetuneError as error:
        raise DataError(str(error) if isinstance(error, DataError) else f"{path}: {error}") from None
    return ReadAnswers(answers, [record.row for record in records], [_say_expected(record) for record in records])


def _find_kind(path: Path) -> type[AnyPrediction]:
    """Return the kind of the first record; that of classes where it is none, whose reader then says what is wrong."""
    kinds: tuple[type[AnyPrediction], ...] = (RegressionPrediction, MultilabelPrediction, LanguagePrediction)
    for kind in kinds:
        try:
            next(read_lines(kind, path), None)
        except DataError:
            continue
        return kind
    return Prediction


def _build_answers(path: Path, records: Sequence[AnyPrediction], names: Sequence[str]) -> AnyAnswers:
    def column(field: str) -> list[Any]:
        return [getattr(record, field) for record in records]

    if isinstance(records[0], RegressionPrediction):
        return build_regression_answers(column("expected"), column("predicted"))
    if isinstance(records[0], MultilabelPrediction):
        expected, predicted = (_read_sets(path, column(side), names) for side in ("expected", "predicted"))
        built = build_multilabel_answers(expected, _read_probabilities(path, column("probabilities"), names))
        return MultilabelAnswers(built.expected, predicted, built.probabilities)
    if isinstance(records[0], LanguagePrediction):
        pairs = column("next_sentence")
        if len({pair is None for pair in pairs}) > 1:
            raise DataError(f"{path}: only some rows say which sentence follows")
        follows = None if pairs[0] is None else _read_classes(path, pairs, names)
        return build_language_answers(column("loss"), column("tokens"), column("right"), column("text_bytes"), follows)
    return _read_classes(path, records, names)


def _read_classes(path: Path, records: Sequence[Any], names: Sequence[str]) -> Answers:
    """Return the answers of records that each have one expected and one predicted label."""
    said = [
        _read_ids(path, [[getattr(record, side)] for record in records], names) for side in ("expected", "predicted")
    ]
    expected, predicted = (np.array(ids, dtype=np.int64)[:, 0] for ids in said)
    probabilities = _read_probabilities(path, [record.probabilities for record in records], names)
    return build_answers(expected, probabilities, predicted)


def _read_sets(path: Path, rows: Sequence[Sequence[str]], names: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether each label is named in each row, (rows, labels)."""
    holds = np.zeros((len(rows), len(names)), dtype=bool)
    for row, ids in zip(holds, _read_ids(path, rows, names), strict=True):
        row[ids] = True
    return holds


def _read_ids(path: Path, rows: Sequence[Sequence[str]], names: Sequence[str]) -> list[list[int]]:
    """Return the ids of the labels that each line names."""
    numbers = {name: number for number, name in enumerate(names)}
    for line, row in enumerate(rows, 1):
        for name in row:
            if name not in numbers:
                raise DataError(f"{path}:{line}: {show(name)!r} is none of the run's labels{suggest(name, names)}")
    return [[numbers[name] for name in row] for row in rows]


def _read_probabilities(path: Path, rows: Sequence[Sequence[float]], names: Sequence[str]) -> NDArray[np.float64]:
    """Return the probabilities of every label, (rows, labels)."""
    for line, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise DataError(f"{path}:{line}: holds {len(row)} probabilities, the run has {len(names)} labels")
    return np.array(rows, dtype=np.float64)


def _say_expected(record: AnyPrediction) -> str:
    """Return what is expected of a row in words, as `data_checks.label_texts` has it."""
    if isinstance(record, LanguagePrediction):
        return "" if record.next_sentence is None else record.next_sentence.expected
    if isinstance(record, MultilabelPrediction):
        return JOIN.join(record.expected)
    return record.expected if isinstance(record, Prediction) else repr(record.expected)
