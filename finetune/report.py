"""The report of a run, built from what its seeds measured.

Owns which figures a report holds and what it warns of first. Shows nothing (`render`) and measures nothing (`scores`).
Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune.metrics import predicted_labels
from finetune.recipe import Band
from finetune.records import (
    BandVerdict,
    Confusion,
    DataRecord,
    HistoryPoint,
    Measurement,
    Mistake,
    Score,
    SeedRecord,
    SeedSummaryRecord,
)
from finetune.scores import NOT_IN_TRAIN, pick
from finetune.statistics import summary

MISTAKES_SHOWN = 20
ENSEMBLE = "ensemble of seeds"
SHORTEST_TEST = 100
MUCH_TRUNCATED = 0.01


@dataclass(frozen=True)
class SeedResult:
    """One seed's outcome: probabilities (rows, classes) of the test rows, and what training took."""

    seed: int
    probabilities: NDArray[np.float64]
    measurement: Measurement
    scores: Sequence[Score]
    history: Sequence[HistoryPoint]


def predictor_name(seed: int) -> str:
    """Return the name that a seed's scores carry where there are several."""
    return f"seed {seed}"


def find_collapse(probabilities: NDArray[np.float64], label_names: Sequence[str]) -> str | None:
    """Return the one label that every row gets, or None where several are predicted."""
    predicted = np.unique(predicted_labels(probabilities))
    return label_names[int(predicted[0])] if len(predicted) == 1 else None


def build_seed_record(result: SeedResult, primary_metric: str, label_names: Sequence[str]) -> SeedRecord:
    """Return what the report says of one seed."""
    measured = pick(result.scores, primary_metric)
    return SeedRecord(
        seed=result.seed,
        score=measured.value if measured else None,
        dev_score=result.measurement.dev_score,
        collapsed_to=find_collapse(result.probabilities, label_names),
        train_seconds=result.measurement.train_seconds,
        final_loss=result.measurement.final_loss,
    )


def summarise_seeds(results: Sequence[SeedResult]) -> list[SeedSummaryRecord]:
    """Return mean, deviation and interval over seeds of each score that is defined for all of them."""
    found = []
    for first in results[0].scores:
        values = [
            same.value for result in results if (same := pick(result.scores, first.name, first.slice)) is not None
        ]
        defined = [value for value in values if value is not None]
        if len(defined) < len(results):
            continue
        over = summary(defined)
        found.append(
            SeedSummaryRecord(
                name=first.name,
                slice=first.slice,
                mean=over.mean,
                standard_deviation=over.standard_deviation,
                low=over.low,
                high=over.high,
                minimum=over.minimum,
                maximum=over.maximum,
                n=over.n,
                values=defined,
            )
        )
    return found


def build_confusion(
    expected: NDArray[np.int64], probabilities: NDArray[np.float64], label_names: Sequence[str]
) -> Confusion:
    """Return counts by expected and predicted label."""
    classes = len(label_names)
    cells = np.bincount(expected * classes + predicted_labels(probabilities), minlength=classes * classes)
    return Confusion(labels=list(label_names), counts=cells.reshape(classes, classes).tolist())


def find_mistakes(
    rows: Sequence[str],
    texts: Sequence[tuple[str, ...]],
    expected: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    label_names: Sequence[str],
) -> list[Mistake]:
    """Return the wrong answers given with the highest probability, surest first."""
    predicted = predicted_labels(probabilities)
    wrong = np.flatnonzero(predicted != expected)
    surest = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:MISTAKES_SHOWN]
    return [
        Mistake(
            row=rows[number],
            text=" ⸱ ".join(texts[number])[:1000],
            expected=label_names[expected[number]],
            predicted=label_names[predicted[number]],
            probability=float(probabilities[number, predicted[number]]),
        )
        for number in surest
    ]


def judge_bands(
    expect: dict[str, Band], scores: Sequence[Score], summaries: Sequence[SeedSummaryRecord]
) -> list[BandVerdict]:
    """Return each band of the recipe with what the measured score is to it: the mean over seeds where there are several."""
    found = []
    for metric, band in expect.items():
        measured = pick(scores, metric, band.slice)
        over_seeds = next(
            (entry.mean for entry in summaries if entry.name == metric and entry.slice == band.slice), None
        )
        # Of several seeds the mean is judged, and it is undefined where one of them is.
        is_ensemble = measured is not None and measured.predictor == ENSEMBLE
        value = over_seeds if is_ensemble else measured.value if measured else None
        verdict, reason = "not comparable", ""
        if measured is None or value is None:
            reason = "the score is undefined here"
        elif band.rows is not None and band.rows != measured.n:
            reason = f"the band speaks of {band.rows:,} rows, these are {measured.n:,}"
        else:
            verdict = "below" if value < band.low else "above" if value > band.high else "within"
        found.append(
            BandVerdict.model_validate(
                {
                    "metric": metric,
                    "slice": band.slice,
                    "low": band.low,
                    "high": band.high,
                    "source": band.source,
                    "verdict": verdict,
                    "reason": reason,
                }
            )
        )
    return found


def describe_collapse(seeds: Sequence[SeedRecord]) -> str:
    """Return the gravest thing to say of a run, that it predicts one class only; empty where it doesn't."""
    collapsed = [seed for seed in seeds if seed.collapsed_to is not None]
    if not collapsed:
        return ""
    if len(seeds) == 1:
        return (
            f"COLLAPSED: the model gives every test row the label '{collapsed[0].collapsed_to}'; "
            "it has learnt nothing that tells rows apart."
        )
    named = ", ".join(f"seed {seed.seed} (always '{seed.collapsed_to}')" for seed in collapsed)
    return (
        f"COLLAPSED: {len(collapsed)} of {len(seeds)} seeds predict one class only: {named}. "
        "They are part of every mean below."
    )


def _whose(score: Score) -> str:
    """Return the subject of a sentence about a score."""
    return "The score" if score.predictor == "model" else f"The score of the {score.predictor}"


def list_data_warnings(data: DataRecord, scores: Sequence[Score], primary_metric: str) -> list[str]:
    """Return what a reader must know of the rows before believing a score, gravest first."""
    found = []
    for shared in data.shared_with_train:
        without = pick(scores, primary_metric, NOT_IN_TRAIN)
        found.append(f"{len(shared.rows)} {shared.part} rows stand in train too.")
        if shared.part == "test" and without is not None and without.value is not None:
            found[-1] += f" {_whose(without)} without them is {without.value:.3f}."
    for split in data.splits:
        if split.contradictions:
            found.append(f"{split.contradictions} texts of {split.part} stand there with more than one label.")
        if split.empty:
            found.append(f"{split.empty} rows of {split.part} hold no visible character.")
        if split.truncated and split.truncated > MUCH_TRUNCATED * split.rows:
            found.append(f"{split.truncated} of {split.rows} rows of {split.part} were cut at the token limit.")
        if split.part == "test" and split.rows < SHORTEST_TEST:
            found.append(f"The test has {split.rows} rows only; expect wide intervals.")
        if split.part == "test" and split.groups is not None and split.groups < split.rows:
            found.append(
                f"The {split.rows:,} test rows come in {split.groups:,} groups of like rows; the intervals take rows as "
                "independent and are too narrow by that."
            )
        missing = [name for name, count in split.labels.items() if count == 0]
        if missing:
            found.append(f"No row of {split.part} is labelled {', '.join(missing)}.")
    if data.dropped_train_rows:
        found.append(
            f"{data.dropped_train_rows} train rows that stand in the test were dropped, as the recipe asks; "
            "published numbers keep them."
        )
    return found
