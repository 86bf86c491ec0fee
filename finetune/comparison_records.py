"""The typed record of a comparison of runs.

Owns its shape and nothing else: `compare` builds it, `render_comparison` shows it. Imports no torch.
"""

from typing import Literal

from finetune.findings import Record
from finetune.records import Score, SeedSummaryRecord

COMPARISON_SCHEMA_VERSION = 1


class ComparedRun(Record):
    """One of the runs: its scores on the compared rows, its cost and its size."""

    name: str
    """Short name, different for every run of the comparison."""
    path: str
    task: str
    seeds: list[int]
    collapse: str
    scores: list[Score]
    """On the compared rows: mean over seeds where there are several, with its bootstrap interval over rows."""
    seed_summaries: list[SeedSummaryRecord]
    """Of the scores that are defined for every seed; empty for a single seed."""
    settings: dict[str, str]
    """Values of the recipe that not all runs of the comparison have."""
    checkpoint: str
    parameters: int
    train_seconds: float
    """Of all seeds together; 0 where nothing was trained."""
    tokens_per_second: float | None
    peak_memory_megabytes: float
    device: str
    processes: int
    threads: int
    precision: str
    notes: list[str]
    """What is to be said of how the checkpoint was loaded."""


class MetricDifference(Record):
    """One metric of two runs on the same rows; differences are second minus first."""

    metric: str
    higher_is_better: bool
    first: float | None
    """Mean over seeds where there are several."""
    second: float | None
    difference: float | None
    low: float | None
    """Paired bootstrap over rows, 95 %, the trained models held fixed."""
    high: float | None
    p_randomisation: float | None
    """Approximate randomisation over rows; None where the runs have different numbers of seeds."""
    p_bootstrap: float | None
    """Paired bootstrap."""
    detectable: float | None
    """Smallest true difference of these models that such rows show with a power of 80 % at the 5 % level."""
    seeds_low: float | None = None
    """95 % interval with rows and seeds as sources of variance; None where a run has a single seed."""
    seeds_high: float | None = None
    p_seeds: float | None = None
    seeds_detectable: float | None = None
    """Smallest true difference of such trainings that these rows and seeds show with a power of 80 % at the 5 % level."""
    reason: str = ""
    """Why a figure is undefined."""


class McNemar(Record):
    """Right and wrong answers of two runs on the same rows, and McNemar's test of equal accuracy."""

    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    p_exact: float
    p_mid: float


class DifferingRow(Record):
    """A row on which two runs disagree."""

    row: str
    text: str
    expected: str
    first: str
    """Label predicted by the first run."""
    second: str
    right: Literal["first", "second", "neither"]
    first_probability: float
    """Of the expected label."""
    second_probability: float
    gap: float
    """How far apart the two are: second minus first."""


class RowGap(Record):
    """A row that one of two runs answers much better than the other, where answers are not right or wrong."""

    row: str
    text: str
    expected: str
    """Empty where text itself is predicted."""
    first: str
    """What the first run says; empty where that is the likelihood alone."""
    second: str
    first_loss: float
    second_loss: float
    gap: float
    """Second minus first."""


class PairComparison(Record):
    """Two of the runs against each other."""

    first: str
    second: str
    metric: str
    """The metric that the verdict speaks of."""
    differences: list[MetricDifference]
    """That metric first, then the others, whose p-values are not corrected for their number."""
    test: Literal["seeds and rows", "randomisation", "paired bootstrap", "none"]
    """The test that the verdict rests on."""
    p_value: float | None
    """Its p-value, before correction."""
    p_adjusted: float | None
    """After Holm's correction over the pairs of the comparison."""
    better: Literal["first", "second", "neither"]
    verdict: str
    """One sentence, with the p-value."""
    basis: str
    """Which test the verdict rests on, and what it says nothing of."""
    mcnemar: McNemar | None
    """None, like the agreement, where answers are no classes."""
    answers: str
    """Whose answers McNemar's test, the agreement and the rows speak of: the single seeds, or the ensembles."""
    agreement: float | None
    """Share of rows with the same predicted label."""
    differing: int | None
    examples: list[DifferingRow]
    """Some of the differing rows, largest gap first."""
    gaps: list[RowGap] = []
    """In their place where answers are no classes: the rows on which the runs are farthest apart, largest gap first."""
    gap_of: str = ""
    """What the loss of a row is there, in words."""


class Comparison(Record):
    """Two or more runs measured on the same rows."""

    schema_version: Literal[1] = COMPARISON_SCHEMA_VERSION
    metric: str
    n: int
    rows: str
    """Which rows are compared, in words."""
    fingerprint: str
    """That of the test rows, or of the shared ones."""
    labels: list[str]
    baselines: list[Score] = []
    """Of answers that read nothing, where a run wasn't trained for the task."""
    resamples: int
    """Of bootstraps, and of the randomisation of other metrics."""
    randomisations: int
    """Of the randomisation of the verdict's metric."""
    resampling: str
    """What one resample draws, in words."""
    runs: list[ComparedRun]
    pairs: list[PairComparison]
    warnings: list[str]
    command: str
    created: str
    versions: dict[str, str]
