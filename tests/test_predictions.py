"""finetune.predictions: answers of every kind come back from disk as they were, and what is no prediction is refused by line."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from finetune.answers import Answers, AnyAnswers, LanguageAnswers, MultilabelAnswers, build_language_answers
from finetune.data import Split, TaskData
from finetune.errors import DataError, MissingInputError
from finetune.metric import KINDS, Kind
from finetune.prediction_records import LanguagePrediction, MultilabelPrediction, Prediction, RegressionPrediction
from finetune.predictions import build_predictions, build_rows, read_answers
from finetune.record_files import write_lines
from finetune.records import DataRecord
from tests.made_answers import make_kind, make_likelihoods

NAMES = {2: ("no", "yes"), 4: ("a", "b", "c", "d"), 0: ()}


def data_of(answers: AnyAnswers) -> TaskData:
    """Return the rows that these are the answers to."""
    columns: dict[str, list] = {
        "row": [f"test/{number}" for number in range(len(answers))],
        "text": [f"text {number}" for number in range(len(answers))],
    }
    names = NAMES[0]
    if isinstance(answers, LanguageAnswers):
        names = NAMES[2] if answers.next_sentence is not None else NAMES[0]
    else:
        columns["label"] = answers.expected.tolist()
        names = NAMES[answers.probabilities.shape[1]] if isinstance(answers, Answers | MultilabelAnswers) else NAMES[0]
    record = DataRecord(
        task="made",
        source="",
        licence="",
        labels=[*names],
        splits=[],
        shared_with_train=[],
        dropped_train_rows=0,
        selection="",
    )
    return TaskData({"test": Split("test", Dataset.from_dict(columns), "made", len(answers))}, names, (), record)


def write_answers(answers: AnyAnswers, path: Path) -> tuple[str, ...]:
    """Write answers as a run does, and return the names of their labels."""
    data = data_of(answers)
    write_lines(path, build_predictions(data, "test", answers))
    return data.label_names


def assert_same(first: AnyAnswers, second: AnyAnswers) -> None:
    """Hold two answers against each other, column by column."""
    assert type(first) is type(second)
    for field in dataclasses.fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if isinstance(one, Answers):
            assert_same(one, other)
        else:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_of_every_kind_come_back_exactly(kind: Kind, tmp_path: Path) -> None:
    answers = make_kind(kind, 30)
    names = write_answers(answers, tmp_path / "p")
    read = read_answers(tmp_path / "p", names)
    assert_same(read.answers, answers)
    assert read.rows == [f"test/{number}" for number in range(30)]
    if not isinstance(answers, LanguageAnswers):
        assert read.expected == [row.label for row in build_rows(data_of(answers))]


def test_texts_without_pairs_come_back_without_pairs(tmp_path: Path) -> None:
    answers = make_likelihoods(10, asks_next_sentence=False)
    read = read_answers(tmp_path / "p", write_answers(answers, tmp_path / "p"))
    assert_same(read.answers, answers)
    assert set(read.expected) == {""}


def test_a_row_that_is_measured_in_no_words_has_an_empty_label() -> None:
    (row,) = build_rows(data_of(build_language_answers([1.0], [2], [1], [5])))
    assert (row.label, row.texts) == ("", ["text 0"])


def test_a_class_is_written_as_it_always_was(tmp_path: Path) -> None:
    answers = Answers(np.array([1]), np.array([0]), np.array([[0.75, 0.25]]))
    write_answers(answers, tmp_path / "p")
    line = '{"row":"test/0","split":"test","expected":"yes","predicted":"no","probabilities":[0.75,0.25]}\n'
    assert (tmp_path / "p").read_text() == line


SET = MultilabelPrediction(row="r", split="test", expected=["a"], predicted=[], probabilities=[0.1, 0.2])
CLASS = Prediction(row="r", split="test", expected="a", predicted="b", probabilities=[0.1, 0.9])
TEXT = LanguagePrediction(row="r", split="test", loss=1.0, tokens=2, right=1, text_bytes=0)
NUMBER = RegressionPrediction(row="r", split="test", expected=1.0, predicted=2.0)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([SET, CLASS], "p:2: not a multilabel prediction"),
        ([NUMBER, TEXT], "p:2: not a regression prediction"),
        ([CLASS, SET], "p:2: not a prediction"),
        ([SET.model_copy(update={"expected": ["bb"]})], "p:1: 'bb' is none of the run's labels; did you mean 'b'?"),
        ([CLASS, CLASS.model_copy(update={"predicted": "c"})], "p:2: 'c' is none of the run's labels"),
        ([SET.model_copy(update={"probabilities": [0.1]})], "p:1: holds 1 probabilities, the run has 2 labels"),
        ([SET.model_copy(update={"probabilities": [0.1, 1.2]})], "p: a probability is outside 0 to 1"),
        ([CLASS.model_copy(update={"probabilities": [0.1, 0.2]})], "p: row 0: .* are not probabilities that sum to 1"),
        ([], "p: holds no predictions"),
    ],
)
def test_what_is_no_prediction_of_the_run_is_refused(records: list, message: str, tmp_path: Path) -> None:
    write_lines(tmp_path / "p", records)
    with pytest.raises(DataError, match=message):
        read_answers(tmp_path / "p", ("a", "b"))


def test_a_torn_file_and_a_missing_one_are_named(tmp_path: Path) -> None:
    (tmp_path / "p").write_text('{"row": ')
    with pytest.raises(DataError, match="p:1: not a prediction"):
        read_answers(tmp_path / "p", ("a", "b"))
    with pytest.raises(MissingInputError, match="q: no such file"):
        read_answers(tmp_path / "q", ("a", "b"))
