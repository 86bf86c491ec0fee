"""The records of single rows that a run leaves on disk: what was asked, and what the model said, one kind for each kind of answers.

Owns their shape and nothing else: `predictions` makes them of answers and reads them back, `run_dir` names the files. Imports no torch.
"""

from typing import Annotated

from pydantic import Field

from finetune.findings import Record

# As NumPy counts.
Count = Annotated[int, Field(ge=0, lt=2**63)]


class Prediction(Record):
    """Which of the labels the model gave one row."""

    row: str
    """`<split>/<0-based row in the source>`."""
    split: str
    expected: str
    predicted: str
    probabilities: list[float]


class RegressionPrediction(Record):
    """Which number the model gave one row."""

    row: str
    split: str
    expected: float
    predicted: float


class MultilabelPrediction(Record):
    """Which of the labels the model gave one row, in the order of label ids."""

    row: str
    split: str
    expected: list[str]
    predicted: list[str]
    probabilities: list[float]
    """Of every label of the run, each by itself."""


class NextSentence(Record):
    """Whether the second sentence of a row follows the first."""

    expected: str
    predicted: str
    probabilities: list[float]


class LanguagePrediction(Record):
    """How likely the model found the text of one row."""

    row: str
    split: str
    loss: float
    """Minus the log likelihood of all its predicted tokens, in nats."""
    tokens: Count
    """How many were predicted."""
    right: Count
    """How many of them were the most likely ones."""
    text_bytes: Count
    """Length of the predicted text in UTF-8; 0 where only some tokens of a text are predicted."""
    next_sentence: NextSentence | None = None
    """Of an objective that asks this too."""


AnyPrediction = Prediction | RegressionPrediction | MultilabelPrediction | LanguagePrediction


class EvaluatedRow(Record):
    """One test row as its texts stand in the data, so that runs can be compared row by row."""

    row: str
    key: str
    """Hash of texts and label, the same for the same row of another file."""
    texts: list[str]
    label: str
    group: str | None = None
