"""Typed records of what an evaluation found beyond its scores: calibration, curves, decisions, slices that differ, mistakes.

Owns their shape and nothing else, for classes, numbers, sets of labels and language models; each is part of a `records.Report`. Who
finds what: `slices`, `calibration`, `decisions`, `curves`, `mistakes`, `near_duplicates`, `error_findings`. Imports no torch.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator


class Record(BaseModel):
    """Base of every record: frozen, and an unknown field is an error, so that an older reader never guesses."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class SliceTest(Record):
    """Whether the primary metric on a slice differs from that on all other rows."""

    slice: str
    n: int
    rest_n: int
    difference: float | None
    """Value on the slice minus the value on the rest; None where either is undefined."""
    p_value: float | None
    """Two-sided, of a permutation of which rows belong to the slice."""
    p_adjusted: float | None
    """The same after Holm's correction over all slices of the report."""
    is_flagged: bool
    """Whether the adjusted p-value is below 0.05."""
    reason: str = ""


class RivalTest(Record):
    """Whether the model differs from a baseline on the same rows."""

    predictor: str
    """Name of the baseline."""
    difference: float | None
    """Primary metric of the model, mean over seeds where there are several, minus that of the baseline."""
    low: float | None
    high: float | None
    p_value: float | None
    basis: str
    """Which test this is, in words."""


class ReliabilityBin(Record):
    """Rows whose predicted label had a probability in (low, high]."""

    low: float
    high: float
    n: int
    confidence: float
    """Mean probability of the predicted label."""
    accuracy: float
    accuracy_low: float
    """Wilson's 95 % interval of the accuracy."""
    accuracy_high: float


class Calibration(Record):
    """How far the stated probabilities can be believed."""

    binning: str
    """How rows were put into bins, in words."""
    error: float
    """Expected calibration error over those bins."""
    bins: list[ReliabilityBin]
    """Bins that hold rows, in rising order."""


class Decision(Record):
    """What was fitted on dev to turn a model's outputs into probabilities and labels."""

    predictor: str
    temperature: float | None = None
    """Divides the logits (Guo et al. 2017); None: not fitted."""
    threshold: float | None = None
    """Smallest probability of the second label at which it is predicted; None: the most probable label."""
    chosen_for: str = ""
    """What the threshold makes best on dev, in words."""
    dev_rows: int


class CurvePoint(Record):
    """One point of a curve: what happens when rows of at least this probability are predicted positive."""

    x: float
    y: float
    threshold: float


class Curves(Record):
    """The trade-offs of a task of two labels; the second label is the positive one."""

    positive: str
    """Name of the positive label."""
    prevalence: float
    """Share of positive rows: the precision of guessing."""
    roc: list[CurvePoint]
    """x: false positive rate, y: true positive rate; thinned to at most 200 points."""
    precision_recall: list[CurvePoint]
    """x: recall, y: precision; thinned to at most 200 points."""


class Confusion(Record):
    """Counts by expected label (rows) and predicted label (columns)."""

    labels: list[str]
    counts: list[list[int]]

    @model_validator(mode="after")
    def _refuse_other_counts(self) -> Self:
        if any(len(cells) != len(self.labels) for cells in (self.counts, *self.counts)):
            raise ValueError(f"counts must have {len(self.labels)} rows and columns, one for each label")
        return self


class Mistake(Record):
    """A wrong answer that the model was sure of."""

    row: str
    text: str
    expected: str
    predicted: str
    probability: float


class ConfusedPair(Record):
    """One direction of the confusion matrix with its surest examples."""

    expected: str
    predicted: str
    count: int
    examples: list[Mistake]


class LabelDoubt(Record):
    """A test row whose label the model doubts most: wrong by the model, or wrong in the data."""

    row: str
    text: str
    label: str
    suggested: str
    probability_of_label: float
    probability_of_suggested: float


class LabelDoubts(Record):
    """Candidates for annotation errors."""

    method: str
    """How candidates were found, in words with the source."""
    count: int
    rows: list[LabelDoubt]
    """The most doubted of them."""


class NearDuplicate(Record):
    """A test row that was answered rightly and is nearly a train row."""

    row: str
    text: str
    expected: str
    train_row: str
    train_text: str
    train_label: str
    similarity: float


class NearDuplicates(Record):
    """Test rows whose text is nearly that of a train row, without being the same."""

    measure: str
    """How likeness was measured, with the limit, in words."""
    looked_at: int
    """Test rows that were compared with train; fewer than all where the data is large."""
    count: int
    correct: int | None
    """How many of them were answered rightly; None where answers are not right or wrong."""
    rows: list[str]
    """Row ids of all of them."""
    examples: list[NearDuplicate]
    """The most alike among those answered rightly, or among all of them."""


class ScatterPoint(Record):
    """Rows that lie close together in expected and predicted number; their middle."""

    expected: float
    predicted: float
    n: int


class NumberError(Record):
    """A row whose predicted number is far from the expected one."""

    row: str
    text: str
    expected: float
    predicted: float
    difference: float
    """Predicted minus expected."""


class RegressionFindings(Record):
    """Predicted against expected numbers."""

    points: list[ScatterPoint]
    """All rows; at most 500 points, of which some stand for several rows where there are more."""
    errors: list[NumberError]
    """The largest errors, largest first."""


class LabelScore(Record):
    """One label of a multi-label task by itself; a figure is None where it has no value on these rows."""

    label: str
    positives: int
    """Rows that have it."""
    predicted: int
    """Rows that are given it."""
    f1: float | None
    f1_low: float | None
    """Bootstrap interval, 95 %."""
    f1_high: float | None
    precision: float | None
    recall: float | None
    average_precision: float | None


class WrongLabels(Record):
    """A row with wrong labels."""

    row: str
    text: str
    expected: list[str]
    missed: list[str]
    """Labels that it has and isn't given."""
    added: list[str]
    """Labels that it is given and hasn't."""


class MultilabelFindings(Record):
    """The labels one by one, and the rows with most wrong ones."""

    labels: list[LabelScore]
    rows: list[WrongLabels]
    right: int
    """Rows with no wrong label."""


class DocumentLoss(Record):
    """A row as a language model found it."""

    row: str
    text: str
    """How it begins."""
    loss: float
    """Mean over its predicted tokens, in nats."""
    tokens: int
    """Predicted ones."""
    token_accuracy: float


class LanguageFindings(Record):
    """What a language model was asked, and which rows it found hard and easy."""

    rows: int
    tokens: int
    """Predicted tokens of all rows."""
    context: int | None
    """Most tokens that the model saw at once; None where that isn't known."""
    masked_share: float | None
    """Share of tokens that were masked and are predicted from both sides; None: each is predicted from those before it."""
    hardest: list[DocumentLoss]
    easiest: list[DocumentLoss]
    fewest_tokens: int
    """Rows with fewer predicted tokens are not among them: their means say little."""
