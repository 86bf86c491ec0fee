"""What a model said of some rows, checked: expected and predicted labels, and probabilities.

Owns the type that metrics, intervals and comparisons take, and which label is predicted: the most probable one, the lowest id
where several tie, unless a decision threshold says otherwise. Computes no score.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finetune.errors import DataError, FinetuneError, InvalidResultError

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]

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

    def __getitem__(self, rows: "Labels | slice") -> "Answers":
        """Return the answers on some of the rows."""
        return Answers(self.expected[rows], self.predicted[rows], self.probabilities[rows])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.probabilities.shape[1]

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether each row was answered rightly, (rows,)."""
        return self.predicted == self.expected


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
