"""What a model said of some rows, checked: labels with probabilities, numbers, sets of labels, or likelihoods of text.

Owns the types that metrics, intervals and comparisons take, one a kind of objective, and which label is predicted: the most probable
one, the lowest id where several tie, unless a decision threshold says otherwise. Computes no score.
"""

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finetune.errors import DataError, FinetuneError, InvalidResultError

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]
Numbers = NDArray[np.float64]
Positions = NDArray[np.int64] | NDArray[np.bool_] | slice

SUM_TOLERANCE: Final = 1e-3
"""How far the probabilities of a row may sum from 1: room for half-precision rounding, none for logits."""


@dataclass(frozen=True)
class Answers:
    """What a model said of some rows; made and checked by `build_answers`.

    Attributes:
        expected: (rows,) label ids.
        predicted: (rows,) label ids.
        probabilities: (rows, classes).
    """

    expected: Labels
    predicted: Labels
    probabilities: Probabilities

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.expected)

    def __getitem__(self, rows: Positions) -> "Answers":
        """Return the answers on some of the rows."""
        return Answers(self.expected[rows], self.predicted[rows], self.probabilities[rows])

    @property
    def strata(self) -> Labels:
        """The class of each row (rows,), so that resampling can keep rare ones."""
        return self.expected

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.probabilities.shape[1]

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether each row was answered rightly, (rows,)."""
        return self.predicted == self.expected


@dataclass(frozen=True)
class RegressionAnswers:
    """The numbers that a model gave some rows; made and checked by `build_regression_answers`.

    Attributes:
        expected, predicted: (rows,).
    """

    expected: Numbers
    predicted: Numbers

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.expected)

    def __getitem__(self, rows: Positions) -> "RegressionAnswers":
        """Return the answers on some of the rows."""
        return RegressionAnswers(self.expected[rows], self.predicted[rows])

    @property
    def strata(self) -> Labels:
        """Zero for each row (rows,): there are no classes to keep."""
        return np.zeros(len(self), dtype=np.int64)


@dataclass(frozen=True)
class MultilabelAnswers:
    """Which of several labels hold for some rows; made and checked by `build_multilabel_answers`.

    Attributes:
        expected, predicted: (rows, labels), whether each label holds.
        probabilities: (rows, labels), of each label by itself.
    """

    expected: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    probabilities: Probabilities

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.expected)

    def __getitem__(self, rows: Positions) -> "MultilabelAnswers":
        """Return the answers on some of the rows."""
        return MultilabelAnswers(self.expected[rows], self.predicted[rows], self.probabilities[rows])

    @property
    def strata(self) -> Labels:
        """Zero for each row (rows,): a row has no one class."""
        return np.zeros(len(self), dtype=np.int64)


@dataclass(frozen=True)
class LanguageAnswers:
    """How likely a language model found some texts; made and checked by `build_language_answers`.

    Attributes:
        losses: (rows,) minus the log likelihood of the predicted tokens of each text, in nats, summed.
        tokens: (rows,) how many tokens of it were predicted.
        right: (rows,) how many of them were the most likely ones.
        text_bytes: (rows,) length of the predicted text in UTF-8, 0 where only some tokens of a text are predicted.
        next_sentence: what the model said of which sentence follows, for an objective that asks this too.
    """

    losses: Numbers
    tokens: Labels
    right: Labels
    text_bytes: Labels
    next_sentence: Answers | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.losses)

    def __getitem__(self, rows: Positions) -> "LanguageAnswers":
        """Return the answers on some of the rows."""
        follows = None if self.next_sentence is None else self.next_sentence[rows]
        return LanguageAnswers(self.losses[rows], self.tokens[rows], self.right[rows], self.text_bytes[rows], follows)

    @property
    def strata(self) -> Labels:
        """Zero for each row (rows,): there are no classes to keep."""
        return np.zeros(len(self), dtype=np.int64)


AnyAnswers = Answers | RegressionAnswers | MultilabelAnswers | LanguageAnswers


def stack_answers(first: AnyAnswers, second: AnyAnswers) -> AnyAnswers:
    """Return answers followed by those of another model of the same kind to the same rows."""
    columns: dict[str, Any] = {}
    for column in fields(first):
        one, other = getattr(first, column.name), getattr(second, column.name)
        if one is None or other is None:
            columns[column.name] = None
        elif isinstance(one, Answers):
            columns[column.name] = stack_answers(one, other)
        else:
            columns[column.name] = np.concatenate([one, other])
    return type(first)(**columns)


def build_regression_answers(expected: ArrayLike, predicted: ArrayLike) -> RegressionAnswers:
    """Return the checked numbers that a model gave; both are (rows,).

    Raises:
        InvalidResultError: a predicted number is not finite.
        FinetuneError: the shapes do not belong together.
    """
    numbers, said = np.asarray(expected, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if numbers.ndim != 1 or numbers.shape != said.shape:
        raise FinetuneError(f"regression needs numbers (rows,) on both sides, got {numbers.shape} and {said.shape}")
    _refuse_not_finite(said)
    return RegressionAnswers(numbers, said)


def build_multilabel_answers(
    expected: ArrayLike, probabilities: ArrayLike, threshold: float = 0.5
) -> MultilabelAnswers:
    """Return the checked labels of rows; both are (rows, labels), and a label is predicted from `threshold` on.

    Raises:
        InvalidResultError: a probability is not finite or outside 0..1.
        FinetuneError: the shapes do not belong together.
    """
    labels, values = np.asarray(expected), np.asarray(probabilities, dtype=np.float64)
    if labels.ndim != 2 or labels.shape != values.shape:
        raise FinetuneError(f"multi-label needs (rows, labels) on both sides, got {labels.shape} and {values.shape}")
    _refuse_not_finite(values)
    if values.size and (values.min() < 0 or values.max() > 1):
        raise InvalidResultError("a probability is outside 0 to 1")
    return MultilabelAnswers(labels.astype(bool), values >= threshold, values)


def build_language_answers(
    losses: ArrayLike,
    tokens: ArrayLike,
    right: ArrayLike,
    text_bytes: ArrayLike,
    next_sentence: Answers | None = None,
) -> LanguageAnswers:
    """Return the checked likelihoods of texts; all are (rows,).

    Raises:
        InvalidResultError: a loss is not finite.
        FinetuneError: the shapes do not belong together.
    """
    columns = [np.asarray(column) for column in (losses, tokens, right, text_bytes)]
    if any(column.shape != columns[0].shape or column.ndim != 1 for column in columns):
        raise FinetuneError(f"likelihoods need (rows,) throughout, got {[column.shape for column in columns]}")
    _refuse_not_finite(columns[0])
    counts = [column.astype(np.int64) for column in columns[1:]]
    return LanguageAnswers(columns[0].astype(np.float64), *counts, next_sentence)


def _refuse_not_finite(values: NDArray) -> None:
    wrong = ~np.isfinite(values)
    if wrong.any():
        rows = int(wrong.reshape(len(values), -1).any(axis=1).sum())
        raise InvalidResultError(
            f"the model's output is not finite on {rows} of {len(values)} rows; nothing is reported"
        )


def build_answers(expected: ArrayLike, probabilities: ArrayLike, predicted: ArrayLike | None = None) -> Answers:
    """Return the checked answers of a model; `predicted` (rows,) are the most probable labels where it is None.

    Takes `expected` (rows,) and `probabilities` (rows, classes).

    Raises:
        InvalidResultError: a probability is not finite, is outside 0..1, or a row does not sum to 1.
        DataError: an expected or predicted label is not an integer from 0 to classes - 1.
        FinetuneError: the shapes do not belong together.
    """
    labels, values = np.asarray(expected), np.asarray(probabilities, dtype=np.float64)
    if labels.ndim != 1 or values.ndim != 2 or len(labels) != len(values) or values.shape[1] < 2:
        raise FinetuneError(
            f"metrics need labels (rows,) and probabilities (rows, 2 or more classes), got {labels.shape} and "
            f"{values.shape}"
        )
    _check_labels(labels, values.shape[1])
    # A comparison with NaN is false, so the negated form also finds rows that are not finite.
    inside = np.all((values >= -SUM_TOLERANCE) & (values <= 1 + SUM_TOLERANCE), axis=1)
    inside[inside] = np.abs(values[inside].sum(axis=1) - 1) <= SUM_TOLERANCE
    wrong = np.flatnonzero(~inside)
    if wrong.size:
        raise InvalidResultError(f"row {wrong[0]}: {values[wrong[0]].tolist()} are not probabilities that sum to 1")
    checked = np.clip(values, 0.0, 1.0)
    said = predicted_labels(checked) if predicted is None else np.asarray(predicted)
    if said.shape != labels.shape:
        raise FinetuneError(f"metrics need as many predicted as expected labels, got {said.shape} and {labels.shape}")
    _check_labels(said, values.shape[1])
    return Answers(labels.astype(np.int64), said.astype(np.int64), checked)


def _check_labels(labels: NDArray, classes: int) -> None:
    if not len(labels):
        return
    if labels.dtype.kind not in "iu":
        raise DataError(f"labels must be integers, found {labels.dtype}")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise DataError(f"row {wrong[0]}: label {labels[wrong[0]]} is not one of 0..{classes - 1}")


def predicted_labels(probabilities: Probabilities, threshold: float | None = None) -> Labels:
    """Return the label predicted for each row of `probabilities` (rows, classes).

    It is the most probable one, the first where several tie; with a threshold, label 1 of two where its probability reaches it.
    """
    if threshold is not None:
        return (probabilities[:, 1] >= threshold).astype(np.int64)
    return np.argmax(probabilities, axis=1).astype(np.int64)
