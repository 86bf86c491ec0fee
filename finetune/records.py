"""The typed records that a run leaves on disk, and the report made of them.

Owns their shape and nothing else: `report` builds a Report, `render` shows it, `run_dir` names the files. What a model said of each row is
`prediction_records`, how a run under way stands `run_records`. Imports no torch.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from finetune.findings import (
    Calibration,
    ConfusedPair,
    Confusion,
    Curves,
    Decision,
    LabelDoubts,
    LanguageFindings,
    Mistake,
    MultilabelFindings,
    NearDuplicates,
    Record,
    RegressionFindings,
    RivalTest,
    SliceTest,
)

SCHEMA_VERSION = 2


class SplitRecord(Record):
    """What stands in one split, and what a careful reader wants to know about it."""

    part: Literal["train", "dev", "test"]
    origin: str
    """Files the rows come from, or the split they were carved from."""
    rows: int
    labels: dict[str, int]
    """Rows of each label, in the order of label ids; empty where the rows have no labels, or numbers."""
    lowest: float | None = None
    """Of the labels, where they are numbers."""
    mean: float | None = None
    highest: float | None = None
    duplicates: int
    """Rows whose text stands in an earlier row of the split."""
    contradictions: int | None = None
    """Texts that stand in the split with more than one label; None where a row doesn't have one class."""
    empty: int
    """Rows without a visible character."""
    groups: int | None = None
    """Different values of the group column, where there is one; of pairs of sentences the documents that they are from."""
    truncated: int | None = None
    """Rows longer than max_length tokens; None before tokenisation."""
    mean_tokens: float | None = None
    longest_tokens: int | None = None
    fingerprint: str
    """SHA-256 over the canonical JSON of (texts, label in words) of each row, in file order."""


class SharedRows(Record):
    """Rows of an evaluation split whose text stands in train too."""

    part: Literal["dev", "test"]
    rows: list[str]


class DataRecord(Record):
    """The rows of a run: where they come from, how they were cut, what the checks found."""

    task: str
    source: str
    licence: str
    labels: list[str]
    splits: list[SplitRecord]
    shared_with_train: list[SharedRows]
    dropped_train_rows: int
    """Train rows left out because their text stands in the test."""
    selection: str
    """What played dev, or why nothing did."""
    notes: list[str] = []
    """What else a reader must know of the rows, such as annotations that don't quite fit them."""


class Score(Record):
    """One number with what it was measured on."""

    name: str
    predictor: str = "model"
    """model, or the name of a baseline."""
    slice: str = "all"
    split: str = "test"
    value: float | None
    low: float | None
    high: float | None
    n: int
    higher_is_better: bool
    resampling: str = "rows"
    """What a resample of the interval draws: rows, rows within each class (where one is rare), or groups of like rows."""
    reason: str = ""
    """Why the value or its interval is undefined."""


class SeedRecord(Record):
    """The outcome of one seed."""

    seed: int
    score: float | None
    """Primary metric on all test rows."""
    dev_score: float | None
    collapsed_to: str | None
    """Label, number or set of labels that every test row got, where the model says the same of all of them."""
    train_seconds: float
    final_loss: float | None


class SeedSummaryRecord(Record):
    """A score over seeds; low and high are the Student-t interval of the mean, which other seeds would fall around."""

    name: str
    slice: str
    mean: float
    standard_deviation: float | None
    low: float | None
    high: float | None
    minimum: float
    maximum: float
    n: int
    values: list[float]
    rows_low: float | None = None
    """Bootstrap interval of the mean over rows, the seeds held fixed."""
    rows_high: float | None = None
    both_low: float | None = None
    """Interval of the mean with seeds and rows as two sources of variance."""
    both_high: float | None = None


class Event(Record):
    """One line of events.jsonl."""

    step: int
    epoch: float
    loss: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    dev: dict[str, float | None] = {}
    seconds: float


class HistoryPoint(Record):
    """One logged moment of training."""

    seed: int
    step: int
    epoch: float
    loss: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    dev_score: float | None = None


class BandVerdict(Record):
    """A measured score held against the recipe's band."""

    metric: str
    slice: str
    low: float
    high: float
    source: str
    verdict: Literal["within", "above", "below", "not comparable"]
    reason: str


class Ancestor(Record):
    """A run whose model another run started from."""

    run: str
    """`<recipe>/<name of its folder>`."""
    task: str
    checkpoint: str
    """What it started from itself."""
    checkpoint_sha256: str
    """Of those weights; empty where they were drawn."""
    metric: str
    score: float | None
    n: int


class Provenance(Record):
    """Everything needed to judge, and to repeat, the run."""

    command: str
    started: str
    seconds: float
    train_seconds: float
    examples_per_second: float | None
    tokens_per_second: float | None
    """Real tokens, padding not counted."""
    padding_share: float | None
    """Share of padding among the tokens that went through the model in training."""
    peak_memory_megabytes: float
    device: str
    processes: int
    threads: int
    precision: str
    parameters: int
    checkpoint: str
    checkpoint_sha256: str
    """Of the weights that training began with; empty where all were drawn from the seed."""
    lineage: list[Ancestor] = []
    """The runs that made the checkpoint, the oldest first."""
    versions: dict[str, str]
    git: str
    notes: list[str] = []
    """What is to be said of how the checkpoint was loaded."""


class Report(Record):
    """The record of a run that everything shown to people is rendered from."""

    schema_version: Literal[2] = SCHEMA_VERSION
    name: str
    task: str
    title: str
    objective: str = "classification"
    """What was learnt or asked, by the name of its module in `objectives/`."""
    model_class: str = "AutoModelForSequenceClassification"
    """The class of transformers that has the head which was asked."""
    primary_metric: str
    seeds: Annotated[list[SeedRecord], Field(min_length=1)]
    collapse: str
    """That the model says the same of every row, to be shown before anything else; empty where it doesn't."""
    warnings: list[str]
    data: DataRecord
    scores: list[Score]
    seed_summaries: list[SeedSummaryRecord]
    baselines: list[Score]
    rival_tests: list[RivalTest] = []
    """The primary metric against each baseline, on the same rows."""
    bands: list[BandVerdict]
    slice_tests: list[SliceTest] = []
    calibration: Calibration | None = None
    decisions: list[Decision] = []
    """Temperature and threshold fitted on dev: of the main predictor first, then of each seed."""
    undecided: list[Score] = []
    """Scores of the main predictor on all rows without them: temperature 1, most probable label."""
    curves: Curves | None = None
    confusion: Confusion | None
    confused: list[ConfusedPair] = []
    """Directions of the confusion matrix, most frequent first."""
    mistakes: list[Mistake]
    doubts: LabelDoubts | None = None
    near_duplicates: NearDuplicates | None = None
    regression: RegressionFindings | None = None
    multilabel: MultilabelFindings | None = None
    language: LanguageFindings | None = None
    history: list[HistoryPoint]
    saved_seed: int
    """Which seed's weights `model/` holds."""
    saved_because: str
    recipe: dict[str, Any]
    provenance: Provenance
